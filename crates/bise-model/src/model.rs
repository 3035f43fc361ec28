//! A model as a GGUF file holds it.

use crate::config::Config;
use crate::error::LoadError;
use crate::fingerprint::Fingerprint;
use crate::weights::Weights;
use bise_tensor::gguf::Gguf;
use bise_tensor::mmap::FileBytes;
use std::path::Path;
use std::sync::OnceLock;

/// Configuration and weights of a Mistral or Mixtral model, ready to run.
///
/// Quantized matrices are laid out anew for the kernels, in as much memory as they take in the file; embeddings and
/// unquantized matrices stay where they are in the file's bytes.
pub struct Model {
    gguf: Gguf,
    file: FileBytes,
    config: Config,
    pub(crate) weights: Weights,
    fingerprint: OnceLock<Fingerprint>,
}

impl Model {
    /// Maps and reads the GGUF file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, is not sound GGUF, or is not a complete Mistral or Mixtral model.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = FileBytes::map(path).map_err(LoadError::Io)?;
        Self::from_bytes(file)
    }

    /// Reads a model from the bytes of a GGUF file.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(file: FileBytes) -> Result<Self, LoadError> {
        let gguf = Gguf::parse(&file)?;
        let config = Config::from_metadata(&gguf.metadata)?;
        let weights = Weights::load(&gguf, &file, &config)?;
        Ok(Self {
            gguf,
            file,
            config,
            weights,
            fingerprint: OnceLock::new(),
        })
    }

    /// What tells this model from others. The first call reads parts of the file.
    pub fn fingerprint(&self) -> Fingerprint {
        *self
            .fingerprint
            .get_or_init(|| Fingerprint::of(&self.gguf, &self.file))
    }

    /// The file's metadata and tensor table.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// The model's dimensions.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Tokens that the model has logits for.
    pub fn vocabulary_size(&self) -> usize {
        self.weights.tok_embeddings.shape()[0]
    }
}
