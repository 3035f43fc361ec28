//! `/v1/models`: what is served.

use crate::fault::Fault;
use crate::http::form::OpenAiError;
use crate::http::state::App;
use crate::served::Served;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use std::time::UNIX_EPOCH;
use utoipa::ToSchema;

/// The names of the model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::Models)]
pub struct Models {
    /// `list`
    object: &'static str,
    /// A model for each name.
    data: Vec<Model>,
}

/// A model by one of its names, in the forms of OpenAI and of Mistral.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::Model)]
pub struct Model {
    /// The name.
    id: String,
    /// `model`
    object: &'static str,
    /// When it was loaded, in seconds since 1970.
    created: u64,
    /// Who made the file is not known.
    owned_by: &'static str,
    /// `base`
    r#type: &'static str,
    /// What it can do.
    capabilities: Capabilities,
    /// Tokens of a text at most, prompt and answer together.
    max_context_length: usize,
}

/// What a model can do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::Capabilities)]
pub struct Capabilities {
    /// Whether it is made for conversations.
    completion_chat: bool,
    /// Whether it can fill gaps.
    completion_fim: bool,
    /// Whether its vocabulary has words for calls of tools.
    function_calling: bool,
}

impl Model {
    fn new(served: &Served, name: &str) -> Self {
        let tokenizer = &served.tokenizer;
        Self {
            id: name.to_owned(),
            object: "model",
            created: served
                .since
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            owned_by: "bise",
            r#type: "base",
            capabilities: Capabilities {
                completion_chat: served.no_chat.is_none(),
                completion_fim: tokenizer.encode_infill(b"", b"").is_ok(),
                function_calling: served.template.tool_calls_token(tokenizer).is_some(),
            },
            max_context_length: served.context,
        }
    }
}

/// The models that there are
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "openai_models",
    tag = "OpenAI",
    responses(
        (status = 200, description = "The model, by each of its names.", body = Models),
    ),
)]
pub async fn list(State(app): State<App>) -> Result<Json<Models>, Fault> {
    let served = app.served()?;
    let model = |name: &String| Model::new(served, name);
    Ok(Json(Models {
        object: "list",
        data: served.names.iter().map(model).collect(),
    }))
}

/// A model by its name
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    operation_id = "openai_model",
    tag = "OpenAI",
    params((
        "id" = String, Path, pattern = "^[^/]+(/[^/]+)*$",
        description = "The name; a slash in it is written as %2F.",
    )),
    responses(
        (status = 200, description = "The model.", body = Model),
        (status = 404, description = "There is no such model.", body = OpenAiError),
    ),
)]
pub async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Model>, Fault> {
    let served = app.served()?;
    served.check_name(Some(&id))?;
    Ok(Json(Model::new(served, &id)))
}
