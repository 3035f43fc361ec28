//! What can go wrong.

use bise_format::adapter::AdapterError;
use bise_format::checkpoint::CheckpointError;
use bise_format::gguf::GgufError;
use bise_format::llama::LlamaError;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// An adapter is for another model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
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
    #[error("no memory for tensor '{tensor}', {bytes} bytes")]
    Memory {
        /// The tensor.
        tensor: String,
        /// The bytes it takes.
        bytes: usize,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not let so much memory be locked.
    #[error("tensor '{tensor}' cannot be locked in memory (`ulimit -l` tells how much may be)")]
    Lock {
        /// The tensor.
        tensor: String,
        /// What the system says.
        source: io::Error,
    },
    /// A weight is infinite or NaN.
    #[error(transparent)]
    BadWeight(#[from] BadWeight),
    /// A layer or an expert takes more memory than allowed.
    #[error("a layer's weights take {bytes} bytes of memory, and {most} are allowed")]
    Piece {
        /// Bytes of the largest.
        bytes: u64,
        /// Bytes allowed.
        most: u64,
    },
    /// Keys and values do not fit in memory.
    #[error("no memory for the keys and values of {tokens} tokens; ask for a smaller context")]
    Context {
        /// Tokens asked for.
        tokens: usize,
    },
}

/// A weight that is infinite or NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct BadWeight {
    /// GGUF's name of the tensor.
    pub tensor: String,
    /// Row of the tensor, of all stacked matrices together.
    pub row: usize,
    /// The first such value of the row.
    pub column: usize,
    /// The block of the row in which it is.
    pub block: usize,
    /// The value.
    pub value: f32,
}

impl Error for BadWeight {}

impl fmt::Display for BadWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tensor,
            row,
            column,
            block,
            value,
        } = self;
        write!(
            f,
            "tensor '{tensor}' has {value} for a weight, in row {row}, column {column} (block {block} of the row): the file is \
             damaged; download or convert it again (`bise verify` checks all of a file)"
        )
    }
}

/// Why tokens could not be processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// Who looked on stopped it. What was processed in passes before stays.
    #[error("stopped")]
    Stopped,
    /// The keys and values of a batch do not fit in the memory that they may take.
    #[error(
        "the keys and values of the batch take {needed} bytes more, and {available} are left of the \
         memory for them"
    )]
    KvMemory {
        /// Bytes that the batch needs.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// A sequence of another engine.
    #[error("a sequence of the batch belongs to another engine")]
    ForeignSequence,
    /// The weights of a layer could not be brought into memory.
    #[error("the weights of layer {layer} cannot be used")]
    Weights {
        /// The layer.
        layer: usize,
        /// Why.
        source: SharedLoadError,
    },
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

/// A [`LoadError`] that can be cloned.
#[derive(Debug, Clone)]
pub struct SharedLoadError(Arc<LoadError>);

impl SharedLoadError {
    pub(crate) fn new(error: LoadError) -> Self {
        Self(Arc::new(error))
    }
}

impl PartialEq for SharedLoadError {
    /// Whether it is the same error, not one like it.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedLoadError {}

impl fmt::Display for SharedLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SharedLoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
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
#[non_exhaustive]
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
