//! Weights that are in memory only while they are used: a layer, and of its experts one at a time.

use super::loader::{LoadOptions, Loader};
use super::updates::Updates;
use crate::config::Config;
use crate::decoder::{Block, Experts, Held, SwiGlu};
use crate::error::LoadError;
use bise_format::checkpoint::Checkpoint;
use bise_format::{LayerTensor, TensorName};
use std::collections::HashMap;
use std::sync::Arc;

/// The blocks of a checkpoint.
pub(crate) struct Streamed {
    checkpoint: Arc<Checkpoint>,
    config: Arc<Config>,
    updates: Arc<Updates>,
}

impl Streamed {
    /// The blocks that `config` asks for, with `updates`.
    pub fn new(checkpoint: Arc<Checkpoint>, config: Config, updates: Arc<Updates>) -> Self {
        let config = Arc::new(config);
        Self {
            checkpoint,
            config,
            updates,
        }
    }

    /// A block, whose experts are brought when they are needed.
    pub fn block(&self, layer: usize) -> Result<Block, LoadError> {
        let experts = StreamedExperts {
            checkpoint: self.checkpoint.clone(),
            config: self.config.clone(),
            updates: self.updates.clone(),
            layer,
        };
        loader(&self.checkpoint, &self.config, &self.updates)
            .block(layer, |_| Ok(Box::new(experts)))
    }
}

/// The experts of a block.
struct StreamedExperts {
    checkpoint: Arc<Checkpoint>,
    config: Arc<Config>,
    updates: Arc<Updates>,
    layer: usize,
}

impl Experts for StreamedExperts {
    fn get(&self, e: usize) -> Result<Held<'_, SwiGlu>, LoadError> {
        let expert = loader(&self.checkpoint, &self.config, &self.updates).expert(self.layer, e)?;
        Ok(Held::Loaded(Box::new(expert)))
    }
}

fn loader<'a>(checkpoint: &'a Checkpoint, config: &'a Config, updates: &'a Updates) -> Loader<'a> {
    const USUAL: &LoadOptions<'_> = &LoadOptions {
        read: false,
        lock: false,
        progress: &|_| {},
        adapters: &[],
    };
    Loader {
        checkpoint,
        config,
        options: USUAL,
        updates,
    }
}

/// Bytes of weights that are laid out in memory at a time at most, those that are quantized or not
/// native: of a layer without its experts, of an expert, or of what is outside of layers.
pub(crate) fn largest_piece(checkpoint: &Checkpoint) -> u64 {
    let mut pieces = HashMap::new();
    for (name, tensor) in &checkpoint.tensors {
        if tensor.dtype().is_quantized() || !tensor.is_native() {
            let name = TensorName::parse(name);
            let (layer, within) = (
                name.and_then(TensorName::layer),
                name.and_then(TensorName::within_layer),
            );
            let (expert, experts) = match within {
                Some(LayerTensor::Expert(_, e)) => (Some(e), 1),
                Some(LayerTensor::Experts(_)) => (Some(0), tensor.shape()[0]),
                _ => (None, 1),
            };
            let bytes = (tensor.native_len() / experts.max(1)) as u64;
            let piece: &mut u64 = pieces.entry((layer, expert)).or_insert(0);
            *piece = piece.saturating_add(bytes);
        }
    }
    pieces.into_values().max().unwrap_or(0)
}
