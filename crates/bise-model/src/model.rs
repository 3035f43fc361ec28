//! A model as its checkpoint holds it.

use crate::config::Config;
use crate::error::LoadError;
use crate::fingerprint::{Fingerprint, Hashed, fingerprint};
use crate::weights::Weights;
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::Metadata;
use bise_format::llama;
use bise_kernels::mmap::FileBytes;
use std::path::Path;
use std::sync::OnceLock;

/// Configuration and weights of a Mistral or Mixtral model, ready to run.
///
/// Quantized matrices are laid out anew for the kernels, in as much memory as they take in the file; embeddings and
/// unquantized matrices stay where they are in the file's bytes.
///
/// ```
/// use bise_model::Model;
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// assert_eq!(model.config().sliding_window, Some(64));
/// assert_eq!(model.metadata().str("general.architecture")?, Some("llama"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Model {
    checkpoint: Checkpoint,
    config: Config,
    pub(crate) weights: Weights,
    fingerprint: OnceLock<Fingerprint>,
}

/// How a model comes into memory.
pub struct LoadOptions<'a> {
    /// Reads the file instead of mapping it: it may then change, be deleted, or lie on a slow disk.
    pub read: bool,
    /// Keeps the weights from being paged out; reads the file too.
    pub lock: bool,
    /// Hears how many more bytes of weights are ready.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self {
            read: false,
            lock: false,
            progress: &|_| {},
        }
    }
}

impl Model {
    /// Maps and reads the GGUF file at `path`, and the other files when it is one part of several.
    ///
    /// # Errors
    /// When a file cannot be read, is not sound GGUF, or they are not a complete Mistral or Mixtral model.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Self::from_checkpoint(Checkpoint::open(path)?)
    }

    /// Reads a model from the bytes of a GGUF file.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(file: FileBytes) -> Result<Self, LoadError> {
        Self::from_checkpoint(Checkpoint::from_bytes(file)?)
    }

    /// Reads a model from metadata and tensors, wherever they are stored.
    ///
    /// # Errors
    /// When they are not a complete Mistral or Mixtral model.
    pub fn from_checkpoint(checkpoint: Checkpoint) -> Result<Self, LoadError> {
        Self::load(checkpoint, &LoadOptions::default())
    }

    /// As [`Model::from_checkpoint`], on the threads of the current pool.
    ///
    /// # Errors
    /// As [`Model::from_checkpoint`], and when weights cannot be locked in memory.
    pub fn load(checkpoint: Checkpoint, options: &LoadOptions<'_>) -> Result<Self, LoadError> {
        let config = Config::from_checkpoint(&checkpoint)?;
        llama::check_tensors(&checkpoint)?;
        let weights = Weights::load(&checkpoint, &config, options)?;
        Ok(Self {
            checkpoint,
            config,
            weights,
            fingerprint: OnceLock::new(),
        })
    }

    /// What tells this model from others. The first call reads parts of the file.
    ///
    /// # Panics
    /// Never: what was read from a file can be written to one.
    pub fn fingerprint(&self) -> Fingerprint {
        let of = || fingerprint(&self.checkpoint, Hashed::Samples).expect("metadata that were read");
        *self.fingerprint.get_or_init(of)
    }

    /// A model whose blocks are loaded elsewhere.
    pub(crate) fn without_blocks(checkpoint: Checkpoint, config: Config) -> Result<Self, LoadError> {
        let none = Config {
            n_layers: 0,
            ..config.clone()
        };
        let weights = Weights::load(&checkpoint, &none, &LoadOptions::default())?;
        Ok(Self {
            checkpoint,
            config,
            weights,
            fingerprint: OnceLock::new(),
        })
    }

    /// Where the model came from: metadata and tensors as they are stored.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What is said about the model, by GGUF's keys.
    pub fn metadata(&self) -> &Metadata {
        &self.checkpoint.metadata
    }

    /// The model's dimensions.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Lets a query see `window` keys, its own included, whatever the file says; all of them for `None` or 0.
    pub fn set_sliding_window(&mut self, window: Option<usize>) {
        self.config.sliding_window = window.filter(|&keys| keys > 0);
        self.config.window_restored = false;
    }

    /// Tokens that the model has logits for.
    pub fn vocabulary_size(&self) -> usize {
        self.weights.tok_embeddings.shape()[0]
    }
}
