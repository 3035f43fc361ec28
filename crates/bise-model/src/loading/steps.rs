//! The tensors that steps of a forward pass take, by GGUF's names.

use crate::decoder::Step;
use bise_format::{FfnMatrix, LayerTensor, TensorName};

/// The matrices whose input comes out of `step`, if there are any; those of a mixture's experts are
/// stacked.
pub(crate) fn matrices(step: Step, layer: usize, mixture: bool) -> Vec<TensorName> {
    let ffn = match mixture {
        true => LayerTensor::Experts,
        false => LayerTensor::Ffn,
    };
    let of_layer = |tensor| TensorName::Layer(layer as u64, tensor);
    let tensors = match step {
        Step::OutputNorm => return vec![TensorName::Output],
        Step::AttentionNorm => vec![LayerTensor::Query, LayerTensor::Key, LayerTensor::Value],
        Step::Heads => vec![LayerTensor::AttentionOutput],
        Step::ExpertInput(_) => vec![ffn(FfnMatrix::Gate), ffn(FfnMatrix::Up)],
        Step::Hidden(_) => vec![ffn(FfnMatrix::Down)],
        _ => Vec::new(),
    };
    tensors.into_iter().map(of_layer).collect()
}

/// What a step is called after the tensor that makes it, as "layer 3, ffn_down", and the tensors
/// that have a part in it.
pub(crate) fn step_tensors(step: Step, layer: usize, mixture: bool) -> (String, Vec<TensorName>) {
    let of_layer = |tensor| TensorName::Layer(layer as u64, tensor);
    let outside = |name: TensorName| {
        let place = name.to_string();
        (place.trim_end_matches(".weight").to_owned(), vec![name])
    };
    let named = |tensor: LayerTensor| (format!("layer {layer}, {tensor}"), vec![of_layer(tensor)]);
    let ffn = |matrix, e| match mixture {
        false => named(LayerTensor::Ffn(matrix)),
        true => (
            format!("layer {layer}, {}, expert {e}", LayerTensor::Ffn(matrix)),
            vec![
                of_layer(LayerTensor::Experts(matrix)),
                of_layer(LayerTensor::Expert(matrix, e as u64)),
            ],
        ),
    };
    match step {
        Step::Embeddings => outside(TensorName::Embedding),
        Step::OutputNorm => outside(TensorName::OutputNorm),
        Step::Logits => outside(TensorName::Output),
        Step::AttentionNorm => named(LayerTensor::AttentionNorm),
        Step::Query => named(LayerTensor::Query),
        Step::Key => named(LayerTensor::Key),
        Step::Value => named(LayerTensor::Value),
        Step::Heads => (format!("layer {layer}, attention"), Vec::new()),
        Step::AttentionOutput | Step::AfterAttention => named(LayerTensor::AttentionOutput),
        Step::FeedForwardNorm | Step::ExpertInput(_) => named(LayerTensor::FfnNorm),
        Step::Router => named(LayerTensor::Router),
        Step::Gate(e) | Step::Hidden(e) => ffn(FfnMatrix::Gate, e),
        Step::Up(e) => ffn(FfnMatrix::Up, e),
        Step::Down(e) => ffn(FfnMatrix::Down, e),
        Step::AfterFeedForward => named(LayerTensor::Ffn(FfnMatrix::Down)),
    }
}
