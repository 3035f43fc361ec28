//! What a tensor is in its model, and what else the choice of its type depends on.

use crate::write::source::StackedTensor;
use bise_format::gguf::{GgufError, Metadata};

/// What types depend on, besides the tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
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

impl Facts {
    /// Of a model with these tensors, `weighted` by an importance matrix or not.
    pub(crate) fn of(
        metadata: &Metadata,
        tensors: &[StackedTensor],
        weighted: bool,
    ) -> Result<Self, GgufError> {
        let tied = tensors.iter().all(|tensor| tensor.name != "output.weight");
        Self::new(metadata, tied, weighted)
    }

    /// Of a model of these metadata.
    pub(crate) fn new(metadata: &Metadata, tied: bool, weighted: bool) -> Result<Self, GgufError> {
        let number = |key: &str| metadata.of_all_layers(&format!("llama.{key}"));
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

impl Role {
    /// The role of the tensor that GGUF calls `name`.
    pub(crate) fn of(name: &str, dims: &[u64]) -> Self {
        let (layer, name) = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((layer, rest)) => (layer.parse().unwrap_or(0), rest),
            None => (0, name),
        };
        let is_vector = dims.len() < 2 || !name.ends_with(".weight") || name.ends_with("_norm.weight");
        let kind = match name.split('.').next() {
            _ if is_vector => Kind::Vector,
            Some("ffn_gate_inp") => Kind::Router,
            Some("token_embd") => Kind::Embedding,
            Some("output") => Kind::Output,
            Some("attn_q") => Kind::AttentionQ,
            Some("attn_k") => Kind::AttentionK,
            Some("attn_v") => Kind::AttentionV,
            Some("attn_output") => Kind::AttentionOutput,
            Some("ffn_gate" | "ffn_gate_exps") => Kind::FfnGate,
            Some("ffn_up" | "ffn_up_exps") => Kind::FfnUp,
            Some("ffn_down" | "ffn_down_exps") => Kind::FfnDown,
            _ => Kind::OtherMatrix,
        };
        Self { kind, layer }
    }

    /// Whether the target says the type.
    pub(crate) fn is_matrix(self) -> bool {
        !matches!(self.kind, Kind::Vector | Kind::Router)
    }
}
