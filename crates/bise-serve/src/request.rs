//! What the scheduler is asked, and what it answers, in no client's words.

use bise_model::chat::ToolCall;
use bise_model::sampler::Sampler;

/// A prompt, and what is wanted after it.
///
/// [`Served`](crate::Served) makes and checks them: tokens are in the vocabulary and fit the
/// context, and options are within their ranges.
pub struct Request {
    /// The prompt, at least one token.
    pub prompt: Vec<u32>,
    /// How the answers are read.
    pub voice: Voice,
    /// What chooses the tokens of each answer, at least one: with a seed of its own, and the grammar
    /// that it must follow.
    pub samplers: Vec<Sampler>,
    /// Tokens of an answer at most.
    pub max_tokens: usize,
    /// Whether tokens that end a text are passed over.
    pub ignore_end: bool,
    /// Texts that end an answer, and do not belong to it.
    pub stops: Vec<String>,
    /// Log-probabilities of each token, and of so many of the likeliest in its place.
    pub logprobs: Option<usize>,
    /// Whether answers are wanted whole: nobody waits for the next token.
    pub whole: bool,
}

impl Request {
    /// Answers to the prompt.
    pub fn choices(&self) -> usize {
        self.samplers.len()
    }
}

/// How the tokens of an answer become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// What follows a text: all that is not a control token is text.
    Continuation,
    /// An answer in a conversation: it begins a text, thoughts are told apart, and so are calls of
    /// tools where the request has `tools`.
    Answer {
        /// Whether calls of tools are looked for.
        tools: bool,
    },
}

/// What becomes of a request, in order. After [`Event::Ended`] of each choice, or
/// [`Event::Failed`], there are no more.
#[derive(Clone, Debug)]
pub enum Event {
    /// The prompt has been processed.
    Begun {
        /// Tokens of the prompt that were known, from earlier requests with the same beginning.
        cached: usize,
    },
    /// More of an answer.
    Piece {
        /// Which answer, from 0.
        choice: usize,
        /// What is new.
        piece: Piece,
    },
    /// An answer is complete.
    Ended {
        /// Which answer, from 0.
        choice: usize,
        /// Why it ended, and what it comes to.
        end: End,
    },
    /// No answer can be given. What came before stands.
    Failed {
        /// Why.
        problem: String,
    },
}

/// What one or more tokens add to an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Text.
    pub text: String,
    /// Text of a thought.
    pub thought: String,
    /// The tokens, where log-probabilities were asked for.
    pub tokens: Vec<Token>,
    /// The numbers of the tokens that made it certain.
    pub ids: Vec<u32>,
}

impl Piece {
    /// Adds what comes after it.
    pub fn extend(&mut self, more: Self) {
        self.text.push_str(&more.text);
        self.thought.push_str(&more.thought);
        self.tokens.extend(more.tokens);
        self.ids.extend(more.ids);
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.thought.is_empty() && self.tokens.is_empty()
    }
}

/// A token and its log-probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// What it adds to a text.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability by the model alone, before all samplers.
    pub logprob: f64,
    /// The likeliest tokens in its place, best first: number, bytes, log-probability.
    pub top: Vec<(u32, Vec<u8>, f64)>,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Why.
    pub finish: Finish,
    /// Tokens of the answer; one that ends a text counts.
    pub tokens: usize,
    /// Their numbers, but for one that ends a text.
    pub ids: Vec<u32>,
    /// Whether the last one is a token that ends a text.
    pub by_token: bool,
    /// Those of them that belong to thoughts.
    pub thought_tokens: usize,
    /// Calls of tools, each with an id.
    pub calls: Vec<ToolCall>,
    /// Seconds from when the request came to when its prompt was processed.
    pub prompt_seconds: f64,
    /// Seconds from then to the end.
    pub answer_seconds: f64,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    End,
    /// A text that was to stop it came; which.
    Stop(String),
    /// There are as many tokens as were asked for, or as fit.
    Length,
    /// The model calls tools.
    Calls,
}

/// Why something could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// A text whose embedding is wanted.
pub struct Embed {
    /// Its tokens, at least one; they fit the context.
    pub tokens: Vec<u32>,
    /// How one vector is made of a vector for each token.
    pub pooling: Pooling,
}

/// How one vector is made of the hidden states of all tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The last token's.
    Last,
    /// Their mean.
    Mean,
    /// The first token's.
    Cls,
}
