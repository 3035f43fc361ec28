//! What a row comes to.

use super::row::Row;
use crate::api::turns::call;
use crate::fault::Fault;
use crate::request::{End, Finish, Piece, Request, Token};
use bise_model::chat::ToolCall;
use bise_model::sampler::Sampler;
use serde_json::{Map, Value, json};

/// The answer to a row.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The number that the row was given.
    pub index: u64,
    /// What the row calls itself.
    pub id: Option<Value>,
    /// What was written, or why nothing was.
    pub result: Result<Text, Fault>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// The text, without the one that stopped it.
    pub text: String,
    /// What was thought before an answer; empty where nothing was.
    pub thought: String,
    /// Calls of tools, where the row has tools.
    pub calls: Vec<ToolCall>,
    /// Why it ended.
    pub reason: Reason,
    /// The text that stopped it.
    pub stop_text: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that were generated; one that ends a text does not count.
    pub tokens: usize,
    /// Their numbers.
    pub ids: Vec<u32>,
    /// With this seed the row gives the same text again.
    pub seed: u64,
    /// Each token with its log-probabilities, where they were asked for.
    pub logprobs: Option<Vec<Token>>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The model ended it.
    End,
    /// A text came that was to stop it.
    Stop,
    /// There are as many tokens as were asked for, or as fit.
    Length,
}

impl Reason {
    /// `end`, `stop` or `length`.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// What is known of a row's answer before it is there.
pub struct Known {
    index: u64,
    id: Option<Value>,
    prompt_tokens: usize,
    seed: u64,
    logprobs: bool,
}

impl Known {
    /// What the row says.
    pub fn of(row: &Row) -> Self {
        Self {
            index: row.index,
            id: row.id.clone(),
            prompt_tokens: 0,
            seed: 0,
            logprobs: false,
        }
    }

    /// What the request says that it was made to.
    pub fn take(&mut self, request: &Request) {
        self.prompt_tokens = request.prompt.len();
        self.seed = request.samplers.first().map_or(0, Sampler::seed);
        self.logprobs = request.logprobs.is_some();
    }

    /// The answer.
    pub fn answer(self, outcome: Result<(Piece, End), Fault>) -> Answer {
        Answer {
            index: self.index,
            result: outcome.map(|(piece, end)| self.text(piece, end)),
            id: self.id,
        }
    }

    /// What was written, which `piece` says and `end` ends.
    pub fn text(&self, piece: Piece, end: End) -> Text {
        let (reason, stop_text) = match end.finish {
            Finish::End | Finish::Calls => (Reason::End, None),
            Finish::Stop(text) => (Reason::Stop, Some(text)),
            Finish::Length => (Reason::Length, None),
        };
        Text {
            text: piece.text,
            thought: piece.thought,
            calls: end.calls,
            reason,
            stop_text,
            prompt_tokens: self.prompt_tokens,
            tokens: end.tokens - usize::from(end.by_token),
            ids: end.ids,
            seed: self.seed,
            logprobs: self.logprobs.then_some(piece.tokens),
        }
    }
}

impl Answer {
    /// As a line of `bise run --input-jsonl` has it after `index` and `id`.
    pub fn to_json(&self) -> Map<String, Value> {
        match &self.result {
            Ok(text) => text.to_json(),
            Err(fault) => Map::from_iter([("error".to_owned(), fault.message.clone().into())]),
        }
    }
}

impl Text {
    fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("text", self.text.clone().into());
        if !self.thought.is_empty() {
            put("reasoning", self.thought.clone().into());
        }
        if !self.calls.is_empty() {
            let calls = self.calls.iter().map(|made| {
                let id = made.id.as_deref().unwrap_or_default();
                call(id, &made.name, &made.arguments)
            });
            put("tool_calls", calls.collect());
        }
        put("stop_reason", self.reason.name().into());
        put("prompt_tokens", self.prompt_tokens.into());
        put("tokens", self.tokens.into());
        put("seed", self.seed.into());
        if let Some(tokens) = &self.logprobs {
            put("logprobs", tokens.iter().map(logprobs).collect());
        }
        object
    }
}

/// A token as `bise run --json --logprobs` has it.
fn logprobs(token: &Token) -> Value {
    let one = |id: u32, bytes: &[u8], logprob: f64| {
        let text = String::from_utf8_lossy(bytes);
        json!({"token": id, "text": text, "logprob": logprob})
    };
    let mut object = one(token.id, &token.bytes, token.logprob);
    let top = token.top.iter();
    object["top"] = top
        .map(|(id, bytes, logprob)| one(*id, bytes, *logprob))
        .collect();
    object
}
