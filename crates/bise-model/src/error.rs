//! What can go wrong.

use crate::diagnosis::BadWeight;
use bise_format::checkpoint::CheckpointError;
use bise_format::gguf::GgufError;
use bise_format::llama::LlamaError;
use std::io;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The files could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The file is not sound GGUF.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The model is of another kind, or says something that bise does not apply.
    #[error(transparent)]
    Llama(#[from] LlamaError),
    /// A needed key is absent.
    #[error("the file has no metadata key '{key}'")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A key has a value that no model can have.
    #[error("metadata key '{key}' is {found}; expected {expected}")]
    BadKey {
        /// The key.
        key: String,
        /// The value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A needed tensor is absent.
    #[error("the file has no tensor '{tensor}'")]
    MissingTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("tensor '{tensor}' has the shape {found:?} (outermost first); expected {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the metadata ask for.
        expected: Vec<usize>,
    },
    /// A matrix does not fit in memory.
    #[error("no memory for tensor '{tensor}', {bytes} bytes: {error}")]
    Memory {
        /// The tensor.
        tensor: String,
        /// The bytes it takes.
        bytes: usize,
        /// What the system says.
        error: io::Error,
    },
    /// The system does not let so much memory be locked.
    #[error("tensor '{tensor}' cannot be locked in memory: {error}; `ulimit -l` tells how much may be")]
    Lock {
        /// The tensor.
        tensor: String,
        /// What the system says.
        error: io::Error,
    },
    /// A weight is infinite or NaN.
    #[error("{0}")]
    BadWeight(BadWeight),
    /// Keys and values do not fit in memory.
    #[error("no memory for the keys and values of {tokens} tokens; ask for a smaller context")]
    Context {
        /// Tokens asked for.
        tokens: usize,
    },
}

/// Why tokens could not be processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// The model has no sliding window and the context is full.
    #[error("the context holds {capacity} tokens: {used} are in it and {more} more do not fit")]
    ContextFull {
        /// Tokens that fit.
        capacity: usize,
        /// Tokens processed so far.
        used: usize,
        /// Tokens of the refused call.
        more: usize,
    },
    /// The [`Watch`](crate::Watch) stopped it: whole batches of the call before have been processed, or, where a sliding window
    /// has overwritten what the next token would see, everything is forgotten. [`Context::len`](crate::Context::len) tells.
    #[error("stopped")]
    Stopped,
    /// A token that the vocabulary does not have.
    #[error("token {token} is not in the vocabulary of {vocabulary} tokens")]
    Token {
        /// The token.
        token: u32,
        /// Tokens in the vocabulary.
        vocabulary: usize,
    },
    /// What the model computes is infinite or NaN.
    #[error(transparent)]
    NotANumber(#[from] NotANumber),
}

/// What a model computes is infinite or NaN, and so says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the model computes is no number (NaN or infinite) from {place} on: {cause}")]
pub struct NotANumber {
    /// The first step with such a result, as "layer 3, ffn_down".
    pub place: String,
    /// Why, as far as that shows.
    pub cause: String,
}

/// Why text could not be generated; what was handed out before stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// There is no text to go on from.
    #[error("the text is empty: there is nothing to go on from")]
    Empty,
    /// Tokens could not be processed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// No token could be chosen.
    #[error(transparent)]
    Sampler(#[from] crate::sampler::SamplerError),
}
