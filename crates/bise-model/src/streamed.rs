//! Models run piece by piece: what a file says after some prompts, in the memory of one layer, or
//! of one expert.

use crate::batch::{LogitRows, Part};
use crate::engine::{Engine, EngineOptions};
use crate::error::{ForwardError, LoadError};
use crate::model::Model;
use crate::sequence::Sequence;
use bise_format::adapter::ScaledAdapter;
use bise_format::checkpoint::Checkpoint;
use std::ops::ControlFlow;

/// Why a model could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamedError {
    /// The file is no model, or takes more memory than allowed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The prompts do not fit the model, or it computes what is no number.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// The logits after each of `prompts`, none of them empty, of a model with `adapters`, with weights
/// of at most `most` bytes laid out at a time. Work runs on the threads of the pool from which it is called;
/// `progress` hears how many layers are done, and of how many.
///
/// # Errors
/// When the checkpoint is not a complete model, a prompt does not fit it, or a layer or an expert
/// needs more memory.
pub fn logits_after(
    checkpoint: Checkpoint,
    adapters: &[ScaledAdapter],
    prompts: &[Vec<u32>],
    most: u64,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Vec<f32>>, StreamedError> {
    let model = Model::streamed(checkpoint, adapters, most)?;
    let layers = model.config().layers.len();
    let options = EngineOptions {
        rows: prompts.iter().map(Vec::len).sum(),
        ..EngineOptions::default()
    };
    let mut engine = Engine::new(&model, options);
    let sequences = prompts.iter().map(|prompt| engine.sequence(prompt.len()));
    let mut sequences: Vec<Sequence> = sequences.collect();
    let parts = sequences.iter_mut().zip(prompts);
    let mut batch: Vec<Part<'_>> = parts
        .map(|(sequence, prompt)| Part::new(sequence, prompt, LogitRows::Last))
        .collect();
    let logits = engine.forward_with(&mut batch, &mut |layer| {
        progress(layer, layers);
        ControlFlow::Continue(())
    })?;
    progress(layers, layers);
    Ok((0..prompts.len()).map(|part| logits.of(part).to_vec()).collect())
}
