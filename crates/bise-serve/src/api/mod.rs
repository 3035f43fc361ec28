//! The interfaces of others, each a thin translation.

mod anthropic;
mod aside;
mod gather;
mod llama_cpp;
mod mistral;
mod ollama;
mod openai;
mod options;
mod sse;
mod status;
mod text_or;
mod turns;

use crate::http::state::App;
use utoipa_axum::router::OpenApiRouter;

/// The routes of all interfaces.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(openai::routes())
        .merge(anthropic::routes())
        .merge(llama_cpp::routes())
        .merge(mistral::routes())
        .merge(ollama::routes())
        .merge(status::routes())
}
