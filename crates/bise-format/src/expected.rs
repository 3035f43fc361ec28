//! What a directory of safetensors should hold, whatever its layout.

use crate::TensorName;
use crate::hf::{Config, Shards};
use bise_kernels::tensor::RowOrder;

/// A tensor that a configuration asks for.
pub(crate) struct Expected {
    /// GGUF's name.
    pub gguf: TensorName,
    /// Hugging Face's names: one, or one for each expert.
    pub sources: Vec<String>,
    /// The shape of each source, slowest dimension first as safetensors has it.
    pub shape: Vec<u64>,
    /// How rows move.
    pub order: RowOrder,
    /// How experts lie.
    pub stacking: Stacking,
}

/// How the experts of a layer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stacking {
    /// There are none: one matrix or vector.
    None,
    /// Each in a source of its own.
    Parts,
    /// In one source, its rows those of one expert after the other.
    Rows,
    /// In one source, its rows the columns of one expert after the other.
    Columns,
    /// In one source `[experts, of * rows, columns]`, where each expert's rows are those of the
    /// matrix number `part` of `of`.
    Fused {
        /// Which.
        part: u64,
        /// Of how many.
        of: u64,
    },
}

impl Stacking {
    /// Whether each source is a tensor of its own.
    pub(crate) fn is_alone(self) -> bool {
        matches!(self, Self::None | Self::Parts)
    }
}

impl Expected {
    pub(crate) fn new(gguf: TensorName, source: String, shape: &[u64]) -> Self {
        Self {
            gguf,
            sources: vec![source],
            shape: shape.to_vec(),
            order: RowOrder::Same,
            stacking: Stacking::None,
        }
    }

    /// The dimensions in GGUF, fastest first; `experts` are stacked along the slowest.
    pub(crate) fn dims(&self, experts: u64) -> Vec<u64> {
        let mut dims: Vec<u64> = self.shape.iter().rev().copied().collect();
        match self.stacking {
            Stacking::None => {}
            Stacking::Parts => dims.push(experts),
            Stacking::Rows => dims = vec![dims[0], dims[1] / experts, experts],
            Stacking::Columns => dims = vec![dims[1] / experts, dims[0], experts],
            Stacking::Fused { of, .. } => dims[1] /= of,
        }
        dims
    }
}

/// A model's configuration and tensors, by the names that its directory's layout has for them.
pub(crate) struct Layout {
    pub name: &'static str,
    pub config: Config,
    pub shards: Shards,
    /// The tensors that the configuration asks for, by the names that they have in this layout.
    pub expected: fn(&Config, &Shards) -> Vec<Expected>,
}

/// Whether the model has an output matrix of its own.
pub(crate) fn has_output(config: &Config, shards: &Shards, output: &str, embeddings: &str) -> bool {
    match config.is_tied() {
        Some(false) => true,
        Some(true) => shards.differ(output, embeddings),
        None => shards.get(output).is_some(),
    }
}
