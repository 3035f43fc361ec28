//! What a file of GGUF's architectures `llama` and `mistral3` may say, so that nothing that would
//! change a result is passed over.
//!
//! ```text
//! keys      applied; or of no weight for the result; or refused, but for the value that is as if the
//!           key were not there
//! tensors   all that the configuration asks for, and no others
//! ```
//!
//! A key of the architecture that nobody knows is worth a note.

mod architecture;
mod error;
mod faults;
mod keys;
mod scaling;
mod tensors;

pub use architecture::Architecture;
pub(crate) use architecture::LATENT;
pub use error::LlamaError;
pub use faults::TensorFaults;
pub use keys::{Meaning, OF_LAYERS, check_metadata, meaning};
pub(crate) use scaling::write_temperature;
pub use scaling::{RopeScaling, ScalingKind, Yarn, temperature};
pub use tensors::{check_tensors, rope_factors};

use crate::checkpoint::Checkpoint;

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
