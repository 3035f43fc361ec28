//! GGUF's names of tensors.

/// The embeddings, whose rows are the vocabulary.
pub(crate) const EMBEDDINGS: &str = "token_embd.weight";
/// The output matrix; the embeddings where a file has none.
pub(crate) const OUTPUT: &str = "output.weight";
/// The last norm.
pub(crate) const OUTPUT_NORM: &str = "output_norm.weight";

/// A tensor of a layer.
pub(crate) fn of_layer(layer: usize, part: &str) -> String {
    format!("blk.{layer}.{part}.weight")
}

/// A matrix of an expert, stored as a tensor of its own.
pub(crate) fn of_expert(layer: usize, part: &str, e: usize) -> String {
    format!("blk.{layer}.{part}.{e}.weight")
}

/// The matrices of a layer's experts, stacked.
pub(crate) fn of_experts(layer: usize, part: &str) -> String {
    format!("blk.{layer}.{part}_exps.weight")
}
