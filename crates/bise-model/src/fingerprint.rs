//! A number that tells models apart.

use bise_tensor::checkpoint::Checkpoint;
use bise_tensor::gguf::{GgufError, Layout, Metadata, TensorSpec};
use sha2::{Digest, Sha256};

/// How much of the weights goes into a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// The first 4096 bytes of each tensor: enough to tell models apart, in no time.
    Samples,
    /// All of it: finds damage too.
    All,
}

const SAMPLE: usize = 4096;

/// The SHA-256 of what makes a model what it is: the metadata of its architecture and tokenizer, the table of its tensors in
/// the order of their names, and their data. It does not depend on how many files they are in, nor on what the model is called.
///
/// # Errors
/// When metadata or tensors cannot be written as GGUF.
pub fn fingerprint(checkpoint: &Checkpoint, hashed: Hashed) -> Result<[u8; 32], GgufError> {
    let matters = |key: &str| {
        key == "general.architecture"
            || ["llama.", "tokenizer."]
                .iter()
                .any(|group| key.starts_with(group))
    };
    let mut entries: Vec<_> = checkpoint
        .metadata
        .iter()
        .filter(|(key, _)| matters(key))
        .collect();
    entries.sort_by_key(|(key, _)| *key);
    let metadata: Metadata = entries
        .into_iter()
        .map(|(key, value)| (key, value.clone()))
        .collect();
    let mut tensors: Vec<_> = checkpoint.tensors.iter().collect();
    tensors.sort_by_key(|(name, _)| *name);
    let specs = tensors.iter().map(|(name, tensor)| TensorSpec {
        name: (*name).clone(),
        dims: tensor.shape().iter().rev().map(|&d| d as u64).collect(),
        dtype: tensor.dtype(),
    });
    let mut hash = Sha256::new();
    hash.update(Layout::new(&metadata, specs)?.header());
    for (_, tensor) in tensors {
        let bytes = tensor.bytes();
        let len = match hashed {
            Hashed::Samples => bytes.len().min(SAMPLE),
            Hashed::All => bytes.len(),
        };
        hash.update(&bytes[..len]);
        if hashed == Hashed::All {
            tensor.release();
        }
    }
    Ok(hash.finalize().into())
}
