//! What balancers and front ends look at: `/health`, `/metrics`.

use crate::fault::Fault;
use crate::http::state::App;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health))
}

/// Whether requests are answered.
#[utoipa::path(get, path = "/health", responses((status = 200, description = "The model is loaded.")))]
async fn health(State(app): State<App>) -> Result<Json<Value>, Fault> {
    app.served()?;
    Ok(Json(json!({"status": "ok"})))
}
