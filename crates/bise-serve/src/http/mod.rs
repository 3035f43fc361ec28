//! The server: what stands before the handlers, and the routes.

pub mod body;
pub mod connections;
pub mod description;
pub mod form;
mod guard;
mod key;
mod paths;
pub mod recorder;
pub mod state;
mod watch;

use crate::api;
use crate::fault::Fault;
use crate::page;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use description::Base;
use guard::Guard;
use key::Keys;
use paths::Paths;
use serde_json::json;
use state::App;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

/// Answers requests: from the outside in, their path is found, they are watched, errors get their
/// form; then it is looked at who asks, and by which key.
pub fn router(app: App) -> Router {
    let keys = Arc::new(Keys::new(&app.options.keys));
    let guard = Arc::new(Guard::new(&app.options, app.address));
    let asked = from_fn_with_state(keys, key::check);
    let (routes, description) = OpenApiRouter::with_openapi(Base::openapi())
        .merge(api::routes().route_layer(asked))
        .merge(api::open_routes())
        .merge(page::routes())
        .split_for_parts();
    let paths = Arc::new(Paths::new(description.paths.paths.keys().cloned()));
    let description = description::complete(json!(description), !app.options.keys.is_empty());
    let known = paths.clone();
    let routes = routes
        .fallback(async move |uri: Uri| known.unknown(uri.path()))
        .layer(Extension(description))
        .with_state(app.clone());
    // What is laid around a router sees requests after it has found their route; this one has none,
    // so that it is found when their path is.
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(app.clone(), refuse_at_the_end))
        .layer(guard::cors())
        .layer(from_fn_with_state(guard, guard::check))
        .layer(CatchPanicLayer::custom(|_| panicked().into_response()))
        .layer(from_fn(form::render))
        .layer(from_fn_with_state(app, watch::watch))
        .layer(from_fn_with_state(paths, paths::find))
}

/// A handler's fault; the program's hook for panics has said where.
fn panicked() -> Fault {
    Fault::internal("the server has a fault, and cannot answer this request").code("panic")
}

/// Refuses requests when the server is about to end, but for those who ask whether it is.
async fn refuse_at_the_end(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    if app.is_ending() && !["/health", "/metrics"].contains(&request.uri().path()) {
        let message = "the server is shutting down";
        let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
        return Err(fault.code("shutting_down").retry_after(1));
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    #[tokio::test]
    async fn a_panic_is_an_error_in_the_form_of_the_path() {
        let panics = async || -> () { panic!("a user's text") };
        let router = Router::new()
            .route("/api/chat", get(panics))
            .layer(CatchPanicLayer::custom(|_| panicked().into_response()))
            .layer(from_fn(form::render));
        let request = Request::get("/api/chat").body(axum::body::Body::empty());
        let reply = TowerToHyperService::new(router).call(request.unwrap()).await;
        let (parts, body) = reply.unwrap().into_parts();
        assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(parts.headers["x-should-retry"], "false");
        let text = to_bytes(body, 1000).await.unwrap();
        assert_eq!(json!({"error": panicked().message}).to_string(), text);
    }
}
