//! The interfaces of others, each a thin translation.

mod anthropic;
mod aside;
mod llama_cpp;
mod mistral;
mod ollama;
mod openai;
mod options;
mod sse;
mod status;
mod text_or;
pub(crate) mod turns;

use crate::http::state::App;
use utoipa_axum::router::OpenApiRouter;

/// The routes of all interfaces, for which a key is asked where there is one.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(openai::routes())
        .merge(anthropic::routes())
        .merge(llama_cpp::routes())
        .merge(mistral::routes())
        .merge(ollama::routes())
        .merge(status::routes())
}

/// The routes that are open to all: what balancers look at, and a page that asks for the key itself.
pub fn open_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(status::open_routes())
}
