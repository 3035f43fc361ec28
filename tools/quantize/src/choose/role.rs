//! What a tensor is in its model, and what else the choice of its type depends on.

use bise_format::gguf::Metadata;
use bise_format::llama::{Architecture, LlamaError};
use bise_format::{FfnMatrix, LayerTensor, TensorName};

/// What types depend on, besides the tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ModelFacts {
    pub layers: u64,
    /// 0 without experts.
    pub experts: u64,
    /// Query heads that share a key and value head.
    pub group: u64,
    /// Whether the embedding is the output matrix too.
    pub tied: bool,
    /// Whether an importance matrix says how much each input weighs.
    pub weighted: bool,
}

impl ModelFacts {
    /// Of a model of these metadata, whose output matrix is the embedding (`tied`) or not,
    /// `weighted` by an importance matrix or not.
    pub(crate) fn new(metadata: &Metadata, tied: bool, weighted: bool) -> Result<Self, LlamaError> {
        let architecture = Architecture::of(metadata)?;
        let number = |key: &str| metadata.of_all_layers(&architecture.key(key));
        let heads = number("attention.head_count")?.unwrap_or(0);
        let kv_heads = number("attention.head_count_kv")?.unwrap_or(heads);
        Ok(Self {
            layers: number("block_count")?.unwrap_or(0),
            experts: number("expert_count")?.unwrap_or(0),
            group: heads.checked_div(kv_heads).unwrap_or(0),
            tied,
            weighted,
        })
    }
}

/// What a tensor is in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub kind: Kind,
    pub layer: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A norm or bias.
    Vector,
    /// The choice of experts.
    Router,
    Embedding,
    Output,
    AttentionQ,
    AttentionK,
    AttentionV,
    AttentionOutput,
    FfnGate,
    FfnUp,
    FfnDown,
    OtherMatrix,
}

impl Kind {
    fn within_layer(tensor: LayerTensor) -> Self {
        match tensor {
            LayerTensor::AttentionNorm | LayerTensor::FfnNorm => Self::Vector,
            LayerTensor::Query => Self::AttentionQ,
            LayerTensor::Key => Self::AttentionK,
            LayerTensor::Value => Self::AttentionV,
            LayerTensor::AttentionOutput => Self::AttentionOutput,
            LayerTensor::Router => Self::Router,
            LayerTensor::Ffn(matrix)
            | LayerTensor::Experts(matrix)
            | LayerTensor::Expert(matrix, _) => match matrix {
                FfnMatrix::Gate => Self::FfnGate,
                FfnMatrix::Up => Self::FfnUp,
                FfnMatrix::Down => Self::FfnDown,
            },
        }
    }
}

impl Role {
    /// The role of the tensor that GGUF calls `name`.
    pub(crate) fn of(name: &str, dims: &[u64]) -> Self {
        let is_vector = dims.len() < 2 || !name.ends_with(".weight");
        let name = TensorName::parse(name);
        let kind = match name {
            _ if is_vector => Kind::Vector,
            Some(TensorName::OutputNorm | TensorName::RopeFreqs) => Kind::Vector,
            Some(TensorName::Embedding) => Kind::Embedding,
            Some(TensorName::Output) => Kind::Output,
            Some(TensorName::Layer(_, tensor)) => Kind::within_layer(tensor),
            None => Kind::OtherMatrix,
        };
        let layer = name.and_then(TensorName::layer).unwrap_or(0);
        Self { kind, layer }
    }

    /// Whether the target says the type.
    pub(crate) fn is_matrix(self) -> bool {
        !matches!(self.kind, Kind::Vector | Kind::Router)
    }
}
