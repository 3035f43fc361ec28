//! The interfaces of others, each a thin translation.

mod aside;
mod gather;
mod openai;
mod sse;
mod status;

use crate::http::state::App;
use utoipa_axum::router::OpenApiRouter;

/// The routes of all interfaces.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(status::routes())
        .merge(openai::routes())
}
