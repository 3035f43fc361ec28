//! LoRA adapters (Hu et al., arXiv 2106.09685): for some matrices of a model, updates that are
//! products of two narrow ones.
//!
//! ```text
//! W' = W + scale * B A        W [rows, columns], B [rows, rank], A [rank, columns]
//! ```
//!
//! They come as a folder of PEFT, or as a GGUF file of llama.cpp. [`Adapter::open`] reads either;
//! [`ScaledAdapter::updates`] holds one against a model.

mod error;
mod gguf;
mod low_rank;
mod pair;
mod peft;

pub use error::AdapterError;
pub use low_rank::{LowRank, ScaledAdapter};
pub use pair::Pair;

use crate::TensorName;
use crate::error::OpenError;
use crate::foreign::Foreign;
use crate::locate::start_of;
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
    path: PathBuf,
    origin: Origin,
    base: Option<String>,
    /// GGUF's architecture of the model, where the file says one.
    architecture: Option<String>,
    pairs: IndexMap<TensorName, Pair>,
    /// Matrices of the model that the file repeats, with their names there.
    repeated: Vec<(TensorName, String, Tensor)>,
}

impl Adapter {
    /// Opens the adapter at `path`: a folder of PEFT, either of its files, or a GGUF file. Beside
    /// it comes what the user should know.
    ///
    /// # Errors
    /// When nothing is there, it is damaged or no adapter, or it says something that would change
    /// the result and is not supported.
    pub fn open(path: &Path) -> Result<(Self, Vec<String>), OpenError> {
        if let Some(folder) = peft::folder_of(path) {
            return peft::open(&folder);
        }
        if path.is_dir() {
            let problem = "no adapter: there is no adapter_config.json";
            let cure = "give a folder that PEFT has saved, or a GGUF adapter of llama.cpp's \
                        convert_lora_to_gguf.py";
            return Err(OpenError::misplaced(path, problem, cure));
        }
        match Foreign::of(&start_of(path)?) {
            Some(Foreign::Gguf) | None => Ok((gguf::open(path)?, Vec::new())),
            Some(Foreign::Safetensors) => {
                let problem = "safetensors without adapter_config.json beside them";
                let cure = "give the folder that PEFT has saved, with both of its files";
                Err(OpenError::misplaced(path, problem, cure))
            }
            Some(source) => Err(OpenError::Foreign {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Whether an adapter seems to be at `path`, and no model.
    pub fn is_at(path: &Path) -> bool {
        let is_model = |folder: &Path| folder.join("config.json").exists();
        match peft::folder_of(path) {
            Some(folder) => path.is_file() || !is_model(&folder),
            None => path.is_file() && gguf::is_adapter(path),
        }
    }

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
