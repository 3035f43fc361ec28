//! Why a file cannot be run.

use super::faults::TensorFaults;
use crate::TensorName;
use crate::gguf::GgufError;

/// Why a file of this architecture cannot be run as it says.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
#[non_exhaustive]
pub enum LlamaError {
    /// A value that cannot be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Another architecture.
    #[error(
        "general.architecture is '{found}'; bise runs 'llama' and 'mistral3' (Mistral and Mixtral){hint}"
    )]
    Architecture { found: String, hint: &'static str },
    /// A file beside models.
    #[error("general.type is '{found}': {hint}")]
    Type { found: String, hint: &'static str },
    /// A key that would change the result.
    #[error(
        "metadata key '{key}' is {found}, which changes the result and is not supported; expected {expected}"
    )]
    Key {
        key: String,
        found: String,
        expected: String,
    },
    /// Factors of rotary frequencies.
    #[error(
        "tensor '{}' has {found}; expected {expected}, which rotary frequencies are divided by",
        TensorName::RopeFreqs
    )]
    RopeFreqs { found: String, expected: String },
    /// Tensors that are missing, or that nothing uses.
    #[error("{0}")]
    Tensors(TensorFaults),
}
