//! Models run piece by piece: what a file says after some prompts, in the memory of one layer, or of one expert.
//!
//! For each layer, and for each expert of a mixture, weights are laid out, all prompts pass through, and the weights go.
//! Logits are those of a [`Context`], bit for bit.

use crate::block::add_residual;
use crate::config::Config;
use crate::context::{Context, ContextOptions};
use crate::diagnosis::{explain_layer, finite};
use crate::error::{ForwardError, LoadError};
use crate::feed_forward::FeedForward;
use crate::model::Model;
use crate::weights::Weights;
use bise_format::checkpoint::Checkpoint;
use bise_format::llama;

/// Why a model could not be run.
#[derive(Debug, thiserror::Error)]
pub enum StreamedError {
    /// The file is no model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The prompts do not fit the model, or it computes what is no number.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// A layer or an expert takes more memory than allowed.
    #[error("a layer's weights take {bytes} bytes of memory, and {most} are allowed")]
    Memory {
        /// Bytes of the largest.
        bytes: u64,
        /// Bytes allowed.
        most: u64,
    },
}

/// The logits after each of `prompts`, none of them empty, of a model, with weights of at most `most`
/// bytes laid out at a time. Work runs on the threads of the pool from which it is called; `progress` hears how many layers
/// are done, and of how many.
///
/// # Errors
/// When the checkpoint is not a complete model, a prompt does not fit it, or a layer or an expert needs more memory.
pub fn logits_after(
    checkpoint: Checkpoint,
    prompts: &[Vec<u32>],
    most: u64,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<Vec<f32>>, StreamedError> {
    let config = Config::from_checkpoint(&checkpoint)?;
    llama::check_tensors(&checkpoint).map_err(LoadError::from)?;
    let bytes = largest_piece(&checkpoint);
    if bytes > most {
        return Err(StreamedError::Memory { bytes, most });
    }
    let model = Model::without_blocks(checkpoint, config)?;
    let mut contexts = Vec::new();
    for prompt in prompts {
        let mut context = Context::new(&model, ContextOptions::new(prompt.len()))?;
        context.embed(prompt)?;
        contexts.push(context);
    }
    for layer in 0..model.config().n_layers {
        pass(&model, layer, &mut contexts)?;
        if !contexts.iter_mut().all(|context| finite(&context.scratch().x)) {
            return Err(number(&model, Some(layer)));
        }
        progress(layer + 1, model.config().n_layers);
    }
    let last = |context: &mut Context| context.last_logits().to_vec();
    let logits: Vec<Vec<f32>> = contexts.iter_mut().map(last).collect();
    match logits.iter().all(|logits| finite(logits)) {
        true => Ok(logits),
        false => Err(number(&model, None)),
    }
}

/// What comes out of a layer, or of the output, is no number.
fn number(model: &Model, layer: Option<usize>) -> StreamedError {
    ForwardError::from(explain_layer(model.checkpoint(), layer)).into()
}

/// Runs all contexts through one block.
fn pass(model: &Model, layer: usize, contexts: &mut [Context<'_>]) -> Result<(), LoadError> {
    let (checkpoint, config) = (model.checkpoint(), model.config());
    let block = Weights::block(checkpoint, config, layer)?;
    contexts
        .iter_mut()
        .for_each(|context| context.attend(&block, layer));
    match &block.feed_forward {
        FeedForward::Dense(_) => {
            for context in contexts.iter_mut() {
                block.feed_forward.forward(context.scratch());
            }
        }
        FeedForward::SparseMoe(mixture) => {
            contexts
                .iter_mut()
                .for_each(|context| mixture.route(context.scratch()));
            for e in 0..mixture.gate.0.rows() {
                let expert = Weights::expert(checkpoint, config, layer, e)?;
                for context in contexts.iter_mut() {
                    mixture.send(e, &expert, context.scratch());
                }
            }
        }
    }
    contexts
        .iter_mut()
        .for_each(|context| add_residual(context.scratch()));
    Ok(())
}

/// Bytes of weights that are laid out in memory at a time at most, those that are quantized or not native: of a layer
/// without its experts, of an expert, or of what is outside of layers.
fn largest_piece(checkpoint: &Checkpoint) -> u64 {
    let mut pieces = std::collections::HashMap::new();
    for (name, tensor) in &checkpoint.tensors {
        if tensor.dtype().is_quantized() || !tensor.is_native() {
            let len = tensor.len() as u64;
            let parts: Vec<&str> = name.split('.').collect();
            let (piece, len) = match parts[..] {
                ["blk", layer, _, expert, "weight"] => ((layer, expert), len),
                ["blk", layer, ..] if name.ends_with("_exps.weight") && tensor.shape().len() > 2 => {
                    ((layer, "any expert"), len / tensor.shape()[0] as u64)
                }
                ["blk", layer, ..] => ((layer, ""), len),
                _ => (("", ""), len),
            };
            *pieces.entry(piece).or_insert(0) += len;
        }
    }
    pieces.into_values().max().unwrap_or(0)
}
