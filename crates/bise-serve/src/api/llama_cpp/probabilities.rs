//! Tokens of an answer and their log-probabilities, as llama.cpp writes them.

use crate::api::openai::answer::{logprob as logprob_of, text};
use crate::request::Token;
use serde::Serialize;
use utoipa::ToSchema;

/// A token that was chosen.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Probability)]
pub struct Probability {
    #[serde(flatten)]
    chosen: Likely,
    /// The likeliest in its place, best first.
    top_logprobs: Vec<Likely>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Likely)]
struct Likely {
    id: u32,
    token: String,
    bytes: Vec<u8>,
    logprob: f64,
}

impl Likely {
    fn new(id: u32, bytes: Vec<u8>, logprob: f64) -> Self {
        Self {
            id,
            token: text(&bytes),
            bytes,
            logprob: logprob_of(logprob),
        }
    }
}

impl From<Token> for Probability {
    fn from(token: Token) -> Self {
        let top = token.top.into_iter();
        Self {
            chosen: Likely::new(token.id, token.bytes, token.logprob),
            top_logprobs: top
                .map(|(id, bytes, logprob)| Likely::new(id, bytes, logprob))
                .collect(),
        }
    }
}
