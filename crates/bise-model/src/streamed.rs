//! Models run a layer at a time: what a file says after some prompts, in the memory of one layer.
//!
//! For each layer its weights are laid out, all prompts pass through it, and the weights go. Logits are those of a
//! [`Context`], bit for bit.

use crate::config::Config;
use crate::context::{Context, ContextOptions};
use crate::error::{ForwardError, LoadError};
use crate::model::Model;
use crate::weights::Weights;
use bise_tensor::checkpoint::Checkpoint;

/// Which arithmetic this program computes logits with. It changes when logits of the same file and tokens do.
pub const ARITHMETIC: u32 = 1;

/// Why a model could not be run.
#[derive(Debug, thiserror::Error)]
pub enum StreamedError {
    /// The file is no model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The prompts do not fit the model.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// A layer takes more memory than allowed.
    #[error("a layer's weights take {bytes} bytes of memory, and {most} are allowed")]
    Layer {
        /// Bytes of the largest layer.
        bytes: u64,
        /// Bytes allowed.
        most: u64,
    },
}

/// The logits after each of `prompts`, none of them empty, of a model, with weights of at most `most`
/// bytes laid out at a time. Work runs on the threads of the pool from which it is called.
///
/// # Errors
/// When the checkpoint is not a complete model, a prompt does not fit it, or a layer needs more memory.
pub fn logits_after(
    checkpoint: Checkpoint,
    prompts: &[Vec<u32>],
    most: u64,
) -> Result<Vec<Vec<f32>>, StreamedError> {
    let config = Config::from_checkpoint(&checkpoint)?;
    let bytes = largest_layer(&checkpoint);
    if bytes > most {
        return Err(StreamedError::Layer { bytes, most });
    }
    let model = Model::without_blocks(checkpoint, config)?;
    let mut contexts = Vec::new();
    for prompt in prompts {
        let mut context = Context::new(&model, ContextOptions::new(prompt.len()))?;
        context.embed(prompt)?;
        contexts.push(context);
    }
    for layer in 0..model.config().n_layers {
        let block = Weights::block(model.checkpoint(), model.config(), layer)?;
        for context in &mut contexts {
            context.pass(&block, layer);
        }
    }
    let last = |context: &mut Context| context.last_logits().to_vec();
    Ok(contexts.iter_mut().map(last).collect())
}

/// Bytes of weights that are laid out in memory, those that are quantized or not native, of the layer that has the most, or
/// outside of layers.
fn largest_layer(checkpoint: &Checkpoint) -> u64 {
    let mut layers = std::collections::HashMap::new();
    for (name, tensor) in &checkpoint.tensors {
        if tensor.dtype().is_quantized() || !tensor.is_native() {
            let layer = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
            *layers.entry(layer).or_insert(0) += tensor.len() as u64;
        }
    }
    layers.into_values().max().unwrap_or(0)
}
