//! Anthropic's interface: `/v1/messages`, `/v1/messages/count_tokens`.
//!
//! Fields that are not known are passed over, as clients of newer versions expect: what they ask
//! for is management of context, caches and the like, which does not change what is said.

mod answer;
mod block;
mod messages;
mod stream;
mod talk;
mod tool;

use crate::http::state::App;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(messages::messages))
        .routes(routes!(messages::count_tokens))
}
