//! A path becomes a checkpoint.

use crate::checkpoint::Checkpoint;
use crate::error::OpenError;
use crate::{hf, llama, locate};
use std::path::Path;

/// Opens the model at `path`: a directory of safetensors in Hugging Face's layout or Mistral's own,
/// a GGUF file, or one part of several. Weights stay where they are. Beside the model comes what
/// the user should know.
///
/// # Errors
/// When nothing is there, or the model is damaged, incomplete or of an unknown kind.
///
/// ```
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tiny-mistral");
/// let (checkpoint, notes) = bise_format::open(path.as_ref())?;
/// assert_eq!(checkpoint.container.to_string(), "safetensors, Hugging Face layout");
/// assert!(checkpoint.tensors.contains_key("blk.0.attn_q.weight"));
/// assert!(notes.is_empty());
/// # Ok::<(), bise_format::OpenError>(())
/// ```
pub fn open(path: &Path) -> Result<(Checkpoint, Vec<String>), OpenError> {
    locate(path)?;
    if path.is_dir() {
        return hf::open(path);
    }
    let checkpoint = Checkpoint::open(path)?;
    let notes = llama::check(&checkpoint).map_err(|e| OpenError::llama(path, e))?;
    Ok((checkpoint, notes))
}
