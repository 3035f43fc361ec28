//! `/v1/embeddings`: texts as vectors.

use super::answer::Heading;
use super::number::Whole;
use super::prompt::{Prompt, Prompts};
use crate::api::aside::aside;
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use crate::served::Served;
use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Texts of a request that wait for the model at a time: others' come between them.
const AT_A_TIME: usize = 4;

/// Texts whose vectors are wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = openai::EmbeddingRequest)]
pub struct EmbeddingRequest {
    /// A text or its tokens, or several.
    input: Prompts,
    /// The model's name; the one that is served where there is none.
    model: Option<String>,
    /// How the vectors are written.
    encoding_format: Option<Encoding>,
    /// As many as the model has.
    #[schema(inline)]
    dimensions: Option<Whole<1, { i32::MAX as i64 }>>,
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = openai::Encoding)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As lists of numbers.
    #[default]
    Float,
    /// As the bytes of 32-bit floats, the lowest first.
    Base64,
}

/// Vectors.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::Embeddings)]
pub struct Embeddings {
    /// A name of its own, which Mistral's client looks for.
    id: String,
    /// `list`
    object: &'static str,
    /// One for each text, in order.
    data: Vec<Embedding>,
    /// The model's name.
    model: String,
    /// Numbers of tokens.
    usage: EmbeddingUsage,
}

/// The vector of a text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::Embedding)]
pub struct Embedding {
    /// `embedding`
    object: &'static str,
    /// Which text, from 0.
    index: usize,
    /// Numbers whose squares add up to 1.
    embedding: Vector,
}

/// A vector as it was wanted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::Vector)]
#[serde(untagged)]
pub enum Vector {
    /// Numbers.
    Float(Vec<f32>),
    /// Bytes.
    Base64(String),
}

/// Numbers of tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openai::EmbeddingUsage)]
pub struct EmbeddingUsage {
    /// Of all texts.
    prompt_tokens: usize,
    /// The same: nothing is written.
    total_tokens: usize,
}

/// Texts as vectors
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    operation_id = "openai_embeddings",
    tag = "OpenAI",
    request_body = EmbeddingRequest,
    responses(
        (status = 200, description = "A vector for each text.", body = Embeddings),
    ),
)]
pub async fn embeddings(
    State(app): State<App>,
    body: Body<EmbeddingRequest>,
) -> Result<Json<Embeddings>, Fault> {
    let served = app.served()?.clone();
    let (with, asked) = (served.clone(), body.value);
    let format = asked.encoding_format.unwrap_or_default();
    let texts = aside(move || asked.texts(&with)).await?;
    let prompt_tokens = texts.iter().map(Vec::len).sum();
    let vectors = texts.into_iter().map(|tokens| served.embed(tokens));
    let vectors = stream::iter(vectors).buffered(AT_A_TIME);
    let vectors: Vec<Vec<f32>> = vectors.try_collect().await?;
    let embedding = |(index, vector): (usize, Vec<f32>)| Embedding {
        object: "embedding",
        index,
        embedding: match format {
            Encoding::Float => Vector::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        },
    };
    Ok(Json(Embeddings {
        id: Heading::new("embd", served.name(), "").id,
        object: "list",
        data: vectors.into_iter().enumerate().map(embedding).collect(),
        model: served.name().to_owned(),
        usage: EmbeddingUsage {
            prompt_tokens,
            total_tokens: prompt_tokens,
        },
    }))
}

impl EmbeddingRequest {
    /// The tokens of all texts.
    fn texts(&self, served: &Served) -> Result<Vec<Vec<u32>>, Fault> {
        served.check_name(self.model.as_deref())?;
        let dim = served.model.config().dim;
        if let Some(other) = self.dimensions.filter(|n| n.0 as usize != dim) {
            let message = format!("dimensions is {}; expected {dim}, as the model has", other.0);
            return Err(Fault::bad(message).at("dimensions"));
        }
        let vocabulary = served.model.vocabulary_size();
        let tokens = |(i, text): (usize, &Prompt)| {
            let at = |message: String| {
                let param = match self.input.0.len() {
                    1 => "input".to_owned(),
                    _ => format!("input[{i}]"),
                };
                Fault::bad(format!("{param}: {message}")).at(param)
            };
            let ids = match text {
                Prompt::Text(text) if text.is_empty() => Vec::new(),
                Prompt::Text(text) => served.tokenizer.encode_complete(text.as_bytes()),
                Prompt::Tokens(ids) => ids.clone(),
            };
            match ids.iter().find(|id| **id as usize >= vocabulary) {
                Some(id) => Err(at(format!("token {id} is not in the vocabulary"))),
                None if ids.is_empty() => Err(at("the text is empty".to_owned())),
                None => Ok(ids),
            }
        };
        self.input.0.iter().enumerate().map(tokens).collect()
    }
}
