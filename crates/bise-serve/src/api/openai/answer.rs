//! What answers of all kinds consist of.

use crate::request::{End, Finish, Token};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa::ToSchema;

/// Stands for a logarithm of 0, as JSON has no infinity.
const LEAST_LOGPROB: f64 = -9999.0;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::FinishReason)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a text that stops it came.
    Stop,
    /// There are as many tokens as were asked for, or as fit.
    Length,
    /// The model calls tools.
    ToolCalls,
}

impl From<&Finish> for FinishReason {
    fn from(finish: &Finish) -> Self {
        match finish {
            Finish::End | Finish::Stop(_) => Self::Stop,
            Finish::Length => Self::Length,
            Finish::Calls => Self::ToolCalls,
        }
    }
}

/// Numbers of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::Usage)]
pub struct Usage {
    /// Of the prompt, or of all prompts.
    prompt_tokens: usize,
    /// Of all answers.
    completion_tokens: usize,
    /// Of both.
    total_tokens: usize,
    /// More about the prompt.
    prompt_tokens_details: PromptDetails,
    /// More about the answers.
    completion_tokens_details: CompletionDetails,
}

/// More about the tokens of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::PromptDetails)]
pub struct PromptDetails {
    /// Those that were known from earlier requests with the same beginning.
    cached_tokens: usize,
}

/// More about the tokens of answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::CompletionDetails)]
pub struct CompletionDetails {
    /// Those of thoughts.
    reasoning_tokens: usize,
}

impl Usage {
    /// A prompt was processed.
    pub fn prompt(&mut self, tokens: usize, cached: usize) {
        self.prompt_tokens += tokens;
        self.total_tokens += tokens;
        self.prompt_tokens_details.cached_tokens += cached;
    }

    /// An answer has ended.
    pub fn answer(&mut self, end: &End) {
        self.completion_tokens += end.tokens;
        self.total_tokens += end.tokens;
        self.completion_tokens_details.reasoning_tokens += end.thought_tokens;
    }
}

/// What all answers to a request say of it.
#[derive(Clone, Debug)]
pub struct Heading {
    /// A name of its own.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// What tells the model from others: the same fingerprint and seed give the same answer.
    pub fingerprint: String,
}

impl Heading {
    /// Of the answers to a request that has just come. `kind` is what its id begins with.
    pub fn new(kind: &str, model: &str, fingerprint: impl ToString) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut fingerprint = fingerprint.to_string();
        fingerprint.truncate(16);
        Self {
            id: format!("{kind}-{:x}{count:08x}", now.as_micros()),
            created: now.as_secs(),
            model: model.to_owned(),
            fingerprint: format!("bise_{fingerprint}"),
        }
    }
}

/// A logarithm that JSON can say.
pub fn logprob(logprob: f64) -> f64 {
    logprob.max(LEAST_LOGPROB)
}

/// What a token says, where it is text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Log-probabilities of the tokens of a chat's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::Logprobs)]
pub struct Logprobs {
    /// Of each token, those of thoughts and calls too.
    content: Vec<TokenLogprob>,
    /// There are no refusals.
    #[schema(value_type = Option<Vec<TokenLogprob>>, required = true)]
    refusal: (),
}

/// A token, how likely it was, and what else was.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::TokenLogprob)]
pub struct TokenLogprob {
    #[serde(flatten)]
    token: Likely,
    /// The likeliest tokens in its place, best first.
    top_logprobs: Vec<Likely>,
}

/// A token and how likely it was.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::Likely)]
pub struct Likely {
    /// Its text; bytes that are no text alone are shown as U+FFFD.
    token: String,
    /// The natural logarithm of its probability, by the model alone.
    logprob: f64,
    /// What it adds to the answer.
    bytes: Vec<u8>,
}

impl Likely {
    fn new(bytes: Vec<u8>, natural: f64) -> Self {
        Self {
            token: text(&bytes),
            logprob: logprob(natural),
            bytes,
        }
    }
}

impl From<Vec<Token>> for Logprobs {
    fn from(tokens: Vec<Token>) -> Self {
        let of = |token: Token| TokenLogprob {
            token: Likely::new(token.bytes, token.logprob),
            top_logprobs: token
                .top
                .into_iter()
                .map(|(_, bytes, natural)| Likely::new(bytes, natural))
                .collect(),
        };
        Self {
            content: tokens.into_iter().map(of).collect(),
            refusal: (),
        }
    }
}
