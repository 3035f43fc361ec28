//! The interfaces of others, each a thin translation.

mod aside;
mod gather;
mod openai;
mod sse;
mod answer;
mod ollama;
mod options;
mod status;
mod text_or;
mod turns;

use crate::http::state::App;
use utoipa_axum::router::OpenApiRouter;

/// The routes of all interfaces.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(openai::routes())
        .merge(ollama::routes())
        .merge(status::routes())
}
