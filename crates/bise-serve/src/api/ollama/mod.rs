//! Ollama's interface: `/api/chat`, `/api/generate`, `/api/embed`, and what is asked about models.
//!
//! One model is served, which is always loaded; what would change that is refused.

mod chat;
mod embed;
mod generate;
mod line;
mod manage;
mod models;
mod options;

use crate::http::state::App;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(chat::chat))
        .routes(routes!(generate::generate))
        .routes(routes!(embed::embed))
        .routes(routes!(embed::embeddings))
        .routes(routes!(models::tags))
        .routes(routes!(models::show))
        .routes(routes!(models::ps))
        .routes(routes!(models::version))
        .merge(manage::routes())
}
