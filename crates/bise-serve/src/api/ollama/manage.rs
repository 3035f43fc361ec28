//! What Ollama does with files of models: there is one model, which the server was started with.

use super::options::check_name;
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::{any, post};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;

/// The routes. They are no part of the interface's description: nothing can be done with them.
pub fn routes() -> OpenApiRouter<App> {
    let paths = [
        "/api/create",
        "/api/copy",
        "/api/delete",
        "/api/push",
        "/api/blobs/{digest}",
    ];
    let router = OpenApiRouter::new().route("/api/pull", post(pull));
    paths
        .into_iter()
        .fold(router, |router, path| router.route(path, any(refuse)))
}

#[derive(Deserialize)]
struct Pull {
    model: Option<String>,
    /// Its older name.
    name: Option<String>,
}

/// Front ends pull a model before they use it: the one that is there need not be.
async fn pull(
    State(app): State<App>,
    Body { value, .. }: Body<Pull>,
) -> Result<Json<Value>, Fault> {
    let name = value.model.or(value.name).unwrap_or_default();
    check_name(app.served()?, &name)?;
    Ok(Json(json!({"status": "success"})))
}

async fn refuse(uri: Uri) -> Fault {
    let message = format!(
        "{} is not there: bise serves the one model that it was started with; start bise serve \
         with another file to have another model",
        uri.path()
    );
    Fault::new(StatusCode::NOT_IMPLEMENTED, "invalid_request_error", message)
}
