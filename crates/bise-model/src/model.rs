//! A model as its checkpoint holds it.

use crate::config::Config;
use crate::error::LoadError;
use crate::fingerprint::{Fingerprint, Hashed, adapted, fingerprint};
use crate::loading::{LoadOptions, Updates, Weights, largest_piece};
use bise_format::adapter::ScaledAdapter;
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::Metadata;
use bise_format::llama;
use bise_kernels::mmap::FileBytes;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Configuration and weights of a Mistral or Mixtral model, ready to run. A clone shares the
/// weights.
///
/// Quantized matrices are laid out anew for the kernels, in as much memory as they take in the
/// file; embeddings and unquantized matrices stay where they are in the file's bytes.
///
/// ```
/// use bise_model::Model;
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// assert_eq!(model.config().sliding_window(), Some(64));
/// assert_eq!(model.metadata().str("general.architecture")?, Some("llama"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Model {
    config: Config,
    shared: Arc<Shared>,
}

/// What copies of a model have in common.
struct Shared {
    checkpoint: Arc<Checkpoint>,
    weights: Weights,
    adapters: Vec<ScaledAdapter>,
    updates: Arc<Updates>,
    fingerprint: OnceLock<Fingerprint>,
}

impl Model {
    /// Maps and reads the GGUF file at `path`, and the other files when it is one part of several.
    ///
    /// # Errors
    /// When a file cannot be read, is not sound GGUF, or they are not a complete Mistral or Mixtral
    /// model.
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

    /// As [`Model::from_checkpoint`], on the threads of the current pool, with the adapters of
    /// `options`.
    ///
    /// # Errors
    /// As [`Model::from_checkpoint`], when weights cannot be locked in memory, and when an adapter
    /// does not fit the model.
    pub fn load(checkpoint: Checkpoint, options: &LoadOptions<'_>) -> Result<Self, LoadError> {
        let config = Config::from_checkpoint(&checkpoint)?;
        llama::check_tensors(&checkpoint)?;
        let updates = Updates::new(options.adapters, &checkpoint, config.head_dim)?;
        let weights = Weights::resident(&checkpoint, &config, options, &updates)?;
        let adapters = (options.adapters, Arc::new(updates));
        Ok(Self::new(Arc::new(checkpoint), config, weights, adapters))
    }

    /// As [`Model::from_checkpoint`], but that weights come a layer at a time, and of a mixture an
    /// expert at a time, whenever they are used: in memory for at most `most` bytes of them. What
    /// `adapters` add is read where it is stored.
    ///
    /// # Errors
    /// When the checkpoint is not a complete model outside of its layers, a layer or an expert takes
    /// more, or an adapter does not fit. What is wrong inside of a layer is said when it is used.
    pub fn streamed(
        checkpoint: Checkpoint,
        adapters: &[ScaledAdapter],
        most: u64,
    ) -> Result<Self, LoadError> {
        let config = Config::from_checkpoint(&checkpoint)?;
        llama::check_tensors(&checkpoint)?;
        let bytes = largest_piece(&checkpoint);
        if bytes > most {
            return Err(LoadError::Piece { bytes, most });
        }
        let updates = Arc::new(Updates::new(adapters, &checkpoint, config.head_dim)?);
        let checkpoint = Arc::new(checkpoint);
        let weights = Weights::streamed(&checkpoint, &config, &updates)?;
        Ok(Self::new(checkpoint, config, weights, (adapters, updates)))
    }

    fn new(
        checkpoint: Arc<Checkpoint>,
        config: Config,
        weights: Weights,
        (adapters, updates): (&[ScaledAdapter], Arc<Updates>),
    ) -> Self {
        Self {
            config,
            shared: Arc::new(Shared {
                checkpoint,
                weights,
                adapters: adapters.to_vec(),
                updates,
                fingerprint: OnceLock::new(),
            }),
        }
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.shared.weights
    }

    /// What tells this model from others, and with the adapters that it has from itself without
    /// them. The first call reads parts of the file, and all of the adapters.
    ///
    /// # Panics
    /// Never: what was read from a file can be written to one.
    pub fn fingerprint(&self) -> Fingerprint {
        let of = || {
            let base = fingerprint(&self.shared.checkpoint, Hashed::Samples);
            adapted(base.expect("metadata that were read"), self.shared.updates.all())
        };
        *self.shared.fingerprint.get_or_init(of)
    }

    /// Where the model came from: metadata and tensors as they are stored.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.shared.checkpoint
    }

    /// What is added to the model's weights as it runs, in this order.
    pub fn adapters(&self) -> &[ScaledAdapter] {
        &self.shared.adapters
    }

    /// What is said about the model, by GGUF's keys.
    pub fn metadata(&self) -> &Metadata {
        &self.shared.checkpoint.metadata
    }

    /// The model's dimensions.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Lets a query see `window` keys in all layers, its own included, whatever the file says; all
    /// of them for `None` or 0. Clones that were made before stay as they are.
    pub fn set_sliding_window(&mut self, window: Option<usize>) {
        self.config.set_sliding_window(window);
    }

    /// Tokens that the model has logits for.
    pub fn vocabulary_size(&self) -> usize {
        self.weights().tok_embeddings.table.shape()[0]
    }
}
