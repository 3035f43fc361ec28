//! What a file of GGUF's architecture `llama` may say, so that nothing that would change a result
//! is passed over.
//!
//! ```text
//! keys      applied; or of no weight for the result; or refused, but for the value that is as if the
//!           key were not there
//! tensors   all that the configuration asks for, and no others
//! ```
//!
//! A key under `llama.` that nobody knows is worth a note.

mod keys;
mod tensors;

pub use keys::{Meaning, OF_LAYERS, check_metadata, meaning};
pub use tensors::{TensorFaults, check_tensors};

use crate::TensorName;
use crate::checkpoint::Checkpoint;
use crate::gguf::GgufError;

/// Why a file of this architecture cannot be run as it says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum LlamaError {
    /// A value that cannot be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Another architecture.
    #[error("general.architecture is '{found}'; bise runs 'llama' (Mistral and Mixtral){hint}")]
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
    /// Scaled rotary frequencies.
    #[error(
        "tensor '{}' scales the rotary frequencies, which is not supported",
        TensorName::RopeFreqs
    )]
    RopeFreqs,
    /// Tensors that are missing, or that nothing uses.
    #[error("{0}")]
    Tensors(TensorFaults),
}

/// Checks keys and tensors; returns what the user should know.
///
/// # Errors
/// When something would change the result that bise does not apply, or tensors are missing or not
/// used.
pub fn check(checkpoint: &Checkpoint) -> Result<Vec<String>, LlamaError> {
    let notes = check_metadata(&checkpoint.metadata)?;
    check_tensors(checkpoint)?;
    Ok(notes)
}
