//! An adapter as it is stored, whatever in.

use super::pair::Pair;
use crate::TensorName;
use bise_kernels::tensor::Tensor;
use indexmap::IndexMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What an adapter is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder of PEFT: `adapter_config.json` and `adapter_model.safetensors`.
    Peft,
    /// A GGUF file of llama.cpp's `convert_lora_to_gguf.py`.
    Gguf,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peft => "PEFT",
            Self::Gguf => "GGUF",
        })
    }
}

/// A LoRA adapter as it is stored. A clone shares the weights, which stay in their file unless they
/// are quantized there.
///
/// ```
/// use bise_format::adapter::Adapter;
/// use bise_format::{LayerTensor, TensorName};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/adapters/plain");
/// let (adapter, notes) = Adapter::open(path.as_ref())?;
/// let query = &adapter.pairs()[&TensorName::Layer(0, LayerTensor::Query)];
/// // B is [rows, rank], A is [rank, columns].
/// assert_eq!((query.b().shape(), query.a().shape()), (&[64, 4][..], &[4, 64][..]));
/// assert!(notes.is_empty());
/// # Ok::<(), bise_format::OpenError>(())
/// ```
#[derive(Clone)]
pub struct Adapter {
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
    pub(super) base: Option<String>,
    /// GGUF's architecture of the model, where the file says one.
    pub(super) architecture: Option<String>,
    pub(super) pairs: IndexMap<TensorName, Pair>,
    /// Matrices of the model that the file repeats, with their names there.
    pub(super) repeated: Vec<(TensorName, String, Tensor)>,
}

impl Adapter {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is stored in.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The model that it was trained on, as far as the files say.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// The pairs of matrices, by the matrix that each is for; of a mixture expert by expert.
    pub fn pairs(&self) -> &IndexMap<TensorName, Pair> {
        &self.pairs
    }

    /// Bytes of all pairs.
    pub fn bytes(&self) -> u64 {
        let halves = self.pairs.values().flat_map(|pair| [pair.a(), pair.b()]);
        halves.map(|half| half.len() as u64).sum()
    }
}
