//! A number that tells models apart.

use bise_format::adapter::LowRank;
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::{GgufError, Layout, Metadata, TensorSpec};
use bise_kernels::block::DType;
use bise_kernels::tensor::Tensor;
use sha2::{Digest, Sha256};
use std::fmt;

/// The version of the numeric contract: raised whenever the same model and tokens give other bits
/// than before.
pub const CONTRACT: u32 = 1;

/// What [`fingerprint`] gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// How much of the weights goes into a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// Of each tensor larger than 64 KiB, 16 pieces of 4 KiB, evenly spread from the first bytes to
    /// the last: another quantization or training shows, a change of single weights between the
    /// pieces does not.
    Samples,
    /// All of it: finds damage too.
    All,
}

/// Bytes of a piece, and pieces of a tensor.
const PIECE: usize = 4096;
const PIECES: usize = 16;

/// The SHA-256 of what makes a model what it is: the metadata of its architecture and tokenizer,
/// the table of its tensors in the order of their names, their scales and their data. It does not
/// depend on how many files they are in, nor on what the model is called.
///
/// # Errors
/// When metadata or tensors cannot be written as GGUF.
pub fn fingerprint(checkpoint: &Checkpoint, hashed: Hashed) -> Result<Fingerprint, GgufError> {
    let architecture = checkpoint.metadata.str("general.architecture")?;
    let of_model = |key: &str| {
        let rest = architecture.and_then(|name| key.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let matters =
        |key: &str| key == "general.architecture" || key.starts_with("tokenizer.") || of_model(key);
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
        dtype: dtype_in_table(tensor),
    });
    let mut hash = Sha256::new();
    hash.update(Layout::new(&metadata, specs)?.header());
    for (_, tensor) in tensors {
        let bytes = tensor.bytes();
        if tensor.dtype() != dtype_in_table(tensor) {
            hash.update(tensor.dtype().name());
        }
        hash_scales(tensor, &mut hash);
        if hashed == Hashed::All || bytes.len() <= PIECE * PIECES {
            hash.update(bytes);
        } else {
            for i in 0..PIECES {
                let at = (bytes.len() - PIECE) * i / (PIECES - 1);
                hash.update(&bytes[at..at + PIECE]);
            }
        }
        if hashed == Hashed::All {
            tensor.release();
        }
    }
    Ok(Fingerprint(hash.finalize().into()))
}

/// The type that stands for a tensor's in the table. Those of directories that GGUF does not have
/// are named after it.
fn dtype_in_table(tensor: &Tensor) -> DType {
    match tensor.dtype().id() {
        Some(_) => tensor.dtype(),
        None => DType::F32,
    }
}

/// What values are multiples of, all of it: a single scale may be that of a whole matrix.
fn hash_scales(tensor: &Tensor, hash: &mut Sha256) {
    let Some(scales) = tensor.scales() else {
        return;
    };
    scales
        .block()
        .iter()
        .for_each(|&extent| hash.update((extent as u64).to_le_bytes()));
    let values = scales.values().iter();
    values.for_each(|value| hash.update(value.to_le_bytes()));
}

/// The fingerprint of a model with `updates`; its own where there are none. It does not depend on
/// how adapters are stored.
pub(crate) fn adapted<'a>(
    base: Fingerprint,
    updates: impl Iterator<Item = &'a LowRank>,
) -> Fingerprint {
    let mut updates = updates.peekable();
    if updates.peek().is_none() {
        return base;
    }
    let mut hash = Sha256::new();
    hash.update(base.0);
    for update in updates {
        let name = update.target.to_string();
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(update.scale.to_le_bytes());
        for matrix in [&update.a, &update.b] {
            for extent in [matrix.rows(), matrix.cols()] {
                hash.update((extent as u64).to_le_bytes());
            }
            let mut values = vec![0.0f32; matrix.cols()];
            for row in 0..matrix.rows() {
                matrix.read_row(row, &mut values);
                values.iter().for_each(|value| hash.update(value.to_le_bytes()));
            }
        }
    }
    Fingerprint(hash.finalize().into())
}
