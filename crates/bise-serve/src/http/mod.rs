//! The server: what stands before the handlers, and the routes.

pub mod body;
pub mod form;
pub mod state;

use crate::api;
use crate::fault::Fault;
use crate::page;
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use state::App;
use utoipa_axum::router::OpenApiRouter;

/// All routes, as they are and behind `/v1`, where clients expect them.
pub fn router(app: App) -> Router {
    let (router, _description) = OpenApiRouter::new()
        .merge(api::routes())
        .merge(page::routes())
        .split_for_parts();
    router
        .fallback(unknown)
        .layer(from_fn_with_state(app.clone(), form::render))
        .with_state(app)
}

/// There is no such path.
async fn unknown(uri: Uri) -> Fault {
    let message = format!("there is nothing at {}", uri.path());
    Fault::new(StatusCode::NOT_FOUND, "invalid_request_error", message).code("not_found")
}
