//! `/api/embed`, and the older `/api/embeddings`

use super::options::{KeepAlive, check_name, wanted};
use crate::api::aside::aside;
use crate::api::openai::number::Whole;
use crate::api::options::Options;
use crate::api::text_or::TextOr;
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use crate::served::{Served, normalize};
use axum::Json;
use axum::extract::State;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use utoipa::ToSchema;

/// Texts at most.
const MOST: usize = 2048;

/// Texts of a request that wait for the model at a time: others' come between them.
const AT_A_TIME: usize = 4;

/// Texts whose embeddings are wanted.
#[derive(Deserialize, ToSchema)]
#[schema(as = ollama::Embed)]
pub struct Embed {
    model: String,
    /// A text, or several.
    input: Option<TextOr<String>>,
    /// Whether what does not fit is left out, which it is unless this is false.
    truncate: Option<bool>,
    /// Values of an embedding: its first ones, made of length 1 again.
    #[schema(inline)]
    dimensions: Option<Whole<1, { i32::MAX as i64 }>>,
    options: Option<Options>,
    #[allow(dead_code)] // the model stays
    keep_alive: Option<KeepAlive>,
}

/// Embeddings, in the order of the texts.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Embeddings)]
pub struct Embeddings {
    model: String,
    embeddings: Vec<Vec<f32>>,
    /// Nanoseconds.
    total_duration: u64,
    load_duration: u64,
    /// Tokens of all texts.
    prompt_eval_count: usize,
}

/// The embeddings of texts
#[utoipa::path(post, path = "/api/embed", tag = "Ollama", request_body = Embed, responses(
    (status = 200, description = "An embedding of length 1 for each text.", body = Embeddings),
))]
pub async fn embed(State(app): State<App>, body: Body<Embed>) -> Result<Json<Embeddings>, Fault> {
    let came = Instant::now();
    let served = app.served()?.clone();
    let (with, model) = (served.clone(), body.value.model.clone());
    let asked = aside(move || body.value.texts(&with, &body.text)).await?;
    let (texts, dimensions) = asked;
    let prompt_eval_count = texts.iter().map(Vec::len).sum();
    let embeddings = texts.into_iter().map(|ids| served.embed(ids));
    let embeddings = stream::iter(embeddings).buffered(AT_A_TIME);
    let mut embeddings: Vec<Vec<f32>> = embeddings.try_collect().await?;
    for embedding in embeddings.iter_mut().filter(|all| all.len() > dimensions) {
        embedding.truncate(dimensions);
        normalize(embedding);
    }
    Ok(Json(Embeddings {
        model,
        embeddings,
        total_duration: u64::try_from(came.elapsed().as_nanos()).unwrap_or(u64::MAX),
        load_duration: 0,
        prompt_eval_count,
    }))
}

impl Embed {
    /// The tokens of all texts, and how many values of an embedding are wanted.
    fn texts(self, served: &Served, text: &str) -> Result<(Vec<Vec<u32>>, usize), Fault> {
        check_name(served, &self.model)?;
        wanted(served, self.options.as_ref(), None, text)?;
        let most = served.model.config().dim;
        let dimensions = self.dimensions.map_or(most, |n| n.0 as usize);
        if dimensions > most {
            let message = format!("dimensions is {dimensions}, expected 1 to {most}");
            return Err(Fault::bad(message).at("dimensions"));
        }
        let texts = match self.input {
            // As where nobody says anything: the model is loaded, which it is.
            None => Vec::new(),
            Some(TextOr::Text(text)) if text.is_empty() => Vec::new(),
            Some(TextOr::Text(text)) => vec![text],
            Some(TextOr::List(texts)) => texts,
        };
        if texts.len() > MOST {
            let message = format!(
                "input is a list of {} texts, expected at most {MOST}",
                texts.len()
            );
            return Err(Fault::bad(message).at("input"));
        }
        let tokens = |text: &String| {
            let mut ids = served.embedding_prompt(text);
            if self.truncate != Some(false) {
                ids.truncate(served.context);
            }
            ids
        };
        Ok((texts.iter().map(tokens).collect(), dimensions))
    }
}

/// A text whose embedding is wanted.
#[derive(Deserialize, ToSchema)]
#[schema(as = ollama::EmbedOne)]
pub struct EmbedOne {
    model: String,
    prompt: Option<String>,
    options: Option<Options>,
    #[allow(dead_code)] // the model stays
    keep_alive: Option<KeepAlive>,
}

/// An embedding; none of no text.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Embedding)]
pub struct Embedding {
    embedding: Vec<f32>,
}

/// The embedding of one text
#[utoipa::path(post, path = "/api/embeddings", tag = "Ollama", request_body = EmbedOne, responses(
    (status = 200, description = "The embedding, of length 1.", body = Embedding),
))]
pub async fn embeddings(
    State(app): State<App>,
    Body { value, text }: Body<EmbedOne>,
) -> Result<Json<Embedding>, Fault> {
    let served = app.served()?.clone();
    let with = served.clone();
    let ids = aside(move || {
        check_name(&with, &value.model)?;
        wanted(&with, value.options.as_ref(), None, &text)?;
        let prompt = value.prompt.filter(|prompt| !prompt.is_empty());
        Ok(prompt.map(|prompt| with.embedding_prompt(&prompt)))
    });
    let embedding = match ids.await? {
        Some(ids) => served.embed(ids).await?,
        None => Vec::new(),
    };
    Ok(Json(Embedding { embedding }))
}
