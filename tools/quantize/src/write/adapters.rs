//! Which tensors adapters change.

use crate::error::QuantizeError;
use crate::write::merge::Merge;
use crate::write::source::StackedTensor;
use bise_format::TensorName;
use bise_format::adapter::ScaledAdapter;
use bise_format::checkpoint::Checkpoint;
use bise_model::Config;

/// Gives an output matrix of its own to a model whose embeddings are the output matrix too, where
/// adapters change one of them and not the other.
pub(crate) fn untie(
    checkpoint: &mut Checkpoint,
    adapters: &[ScaledAdapter],
    notes: &mut Vec<String>,
) {
    let outside = [TensorName::Embedding, TensorName::Output];
    let changes = |scaled: &ScaledAdapter| {
        let mut targets = scaled.adapter.pairs().keys();
        targets.any(|target| outside.contains(target))
    };
    if !checkpoint.output_is_tied() || !adapters.iter().any(changes) {
        return;
    }
    let [embedding, output] = outside.map(|name| name.to_string());
    let Some(tensor) = checkpoint.tensors.get(&embedding).cloned() else {
        return;
    };
    let source = checkpoint.source_name(&embedding).to_owned();
    checkpoint.source_names.insert(output.clone(), source);
    notes.push(format!(
        "{output} is a matrix of its own: an adapter changes the embeddings or the output matrix, which were one"
    ));
    checkpoint.tensors.insert(output, tensor);
}

/// Hands to each of `tensors`, which are those of `checkpoint`, its updates.
///
/// # Errors
/// When an adapter does not fit the model.
pub(crate) fn attach(
    adapters: &[ScaledAdapter],
    checkpoint: &Checkpoint,
    tensors: &mut [StackedTensor],
) -> Result<(), QuantizeError> {
    if adapters.is_empty() {
        return Ok(());
    }
    let head_dim = Config::from_checkpoint(checkpoint)?.head_dim;
    for adapter in adapters {
        for update in adapter.updates(checkpoint, head_dim)? {
            let (name, expert) = update.target.of_expert().unwrap_or((update.target, 0));
            let name = name.to_string();
            let tensor = tensors.iter_mut().find(|tensor| tensor.name == name);
            let tensor = tensor.expect("a matrix of the model");
            let first = expert * tensor.rows_of_expert();
            tensor.merges.push(Merge::new(first, update));
        }
    }
    Ok(())
}
