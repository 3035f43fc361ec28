//! What balancers and observers look at, and the description of all routes: `/health`, `/metrics`,
//! `/openapi.json`.

use crate::http::description::Description;
use crate::http::state::App;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes that ask for a key.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(metrics))
        .routes(routes!(description))
}

/// The routes that do not.
pub fn open_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health))
}

/// How the server is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`, `loading`, `ending`, or `failed`
    status: &'static str,
    /// The share of the weights that is loaded.
    progress: f64,
}

/// Whether requests are answered.
#[utoipa::path(
    get,
    path = "/health",
    security(()),
    responses(
        (status = 200, description = "They are.", body = Health),
        (status = 503, description = "They are not yet, or not any more.", body = Health),
    )
)]
async fn health(State(app): State<App>) -> Response {
    let status = match app.loaded_model() {
        _ if app.is_ending() => "ending",
        _ if app.has_failed() => "failed",
        None => "loading",
        Some(_) => "ok",
    };
    let progress = app.loaded_model().map_or_else(|| app.progress(), |_| 1.0);
    let mut response = Json(Health { status, progress }).into_response();
    if status != "ok" {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What is measured, in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (
            status = 200,
            description = "Counters, gauges and histograms.",
            body = String,
            content_type = "text/plain",
        ),
    )
)]
async fn metrics(State(app): State<App>) -> Response {
    let load = app.loaded_model().map(|served| served.scheduler.load());
    let load = load.unwrap_or_default();
    metrics::gauge!("bise_running_answers").set(load.running as f64);
    metrics::gauge!("bise_waiting_answers").set(load.waiting as f64);
    metrics::gauge!("bise_kv_bytes").set(load.kv_bytes as f64);
    let loaded = app.loaded_model().map_or_else(|| app.progress(), |_| 1.0);
    metrics::gauge!("bise_loaded_ratio").set(loaded);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.metrics.render()).into_response()
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((status = 200, description = "OpenAPI.", body = Object))
)]
async fn description(Extension(Description(text)): Extension<Description>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
