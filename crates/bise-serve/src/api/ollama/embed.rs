//! `/api/embed`, and the older `/api/embeddings`

use super::options::{KeepAlive, check_name, wanted};
use crate::api::options::Options;
use crate::api::text_or::TextOr;
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use utoipa::ToSchema;

/// Texts whose embeddings are wanted.
#[derive(Deserialize, ToSchema)]
pub struct Embed {
    model: String,
    /// A text, or several.
    input: Option<TextOr<String>>,
    /// Whether what does not fit is left out, which it is unless this is false.
    truncate: Option<bool>,
    /// Values of an embedding: its first ones, made of length 1 again.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    options: Option<Options>,
    #[allow(dead_code)]
    keep_alive: Option<KeepAlive>,
}

/// Embeddings, in the order of the texts.
#[derive(Serialize, ToSchema)]
pub struct Embeddings {
    model: String,
    embeddings: Vec<Vec<f32>>,
    /// Nanoseconds.
    total_duration: u64,
    load_duration: u64,
    /// Tokens of all texts.
    prompt_eval_count: usize,
}

/// The embeddings of texts.
#[utoipa::path(post, path = "/api/embed", tag = "Ollama", request_body = Embed, responses(
    (status = 200, description = "An embedding of length 1 for each text.", body = Embeddings),
))]
pub async fn embed(
    State(app): State<App>,
    Body { value, text }: Body<Embed>,
) -> Result<Json<Embeddings>, Fault> {
    let came = Instant::now();
    let served = app.served()?;
    check_name(served, &value.model)?;
    wanted(served, value.options, None, &text)?;
    let most = served.model.config().dim;
    let dimensions = value.dimensions.unwrap_or(most);
    if !(1..=most).contains(&dimensions) {
        let message = format!("dimensions is {dimensions}, expected 1 to {most}");
        return Err(Fault::bad(message).at("dimensions"));
    }
    let texts = match value.input {
        Some(TextOr::List(texts)) => texts,
        // As where nobody says anything: the model is loaded, which it is.
        Some(TextOr::Text(text)) if text.is_empty() => Vec::new(),
        Some(TextOr::Text(text)) => vec![text],
        None => Vec::new(),
    };
    let (mut embeddings, mut tokens) = (Vec::with_capacity(texts.len()), 0);
    for text in texts {
        let mut ids = served.embedding_prompt(&text);
        if value.truncate != Some(false) {
            ids.truncate(served.context);
        }
        tokens += ids.len();
        let mut values = served.embed(ids).await?;
        if dimensions < most {
            values.truncate(dimensions);
            crate::served::normalize(&mut values);
        }
        embeddings.push(values);
    }
    Ok(Json(Embeddings {
        model: value.model,
        embeddings,
        total_duration: u64::try_from(came.elapsed().as_nanos()).unwrap_or(u64::MAX),
        load_duration: 0,
        prompt_eval_count: tokens,
    }))
}

/// A text whose embedding is wanted.
#[derive(Deserialize, ToSchema)]
pub struct EmbedOne {
    model: String,
    prompt: Option<String>,
    options: Option<Options>,
    #[allow(dead_code)]
    keep_alive: Option<KeepAlive>,
}

/// An embedding; none of no text.
#[derive(Serialize, ToSchema)]
pub struct Embedding {
    embedding: Vec<f32>,
}

/// The embedding of one text.
#[utoipa::path(post, path = "/api/embeddings", tag = "Ollama", request_body = EmbedOne, responses(
    (status = 200, description = "The embedding, of length 1.", body = Embedding),
))]
pub async fn embeddings(
    State(app): State<App>,
    Body { value, text }: Body<EmbedOne>,
) -> Result<Json<Embedding>, Fault> {
    let served = app.served()?;
    check_name(served, &value.model)?;
    wanted(served, value.options, None, &text)?;
    let embedding = match value.prompt.filter(|prompt| !prompt.is_empty()) {
        Some(prompt) => served.embed(served.embedding_prompt(&prompt)).await?,
        None => Vec::new(),
    };
    Ok(Json(Embedding { embedding }))
}
