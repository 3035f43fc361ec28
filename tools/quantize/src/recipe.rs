//! Which tensor gets which type: plain types and recipes, as GGUF users know them from llama.cpp.
//!
//! Vectors and the routers of experts stay F32. For quantized targets the output matrix (the embedding, when
//! they are one) gets Q6_K, K and V of models with 8 experts get Q8_0, and a recipe's rules say the rest.

use crate::source::Tensor;
use bise_tensor::block::DType;
use bise_tensor::gguf::{GgufError, Metadata};
use std::fmt;

/// What a model is quantized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One type for all matrices, with the exceptions above.
    Plain(DType),
    /// A mix of types.
    Recipe(&'static Recipe),
}

/// A mix of types: the first rule that holds for a matrix gives its type, else it is `base`.
#[derive(Debug, PartialEq, Eq)]
pub struct Recipe {
    name: &'static str,
    /// llama.cpp's number for `general.file_type`.
    file_type: u32,
    base: DType,
    rules: &'static [(Kind, When, DType)],
}

/// A rule's condition on a matrix's layer, or on its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The first and last eighth of the layers, and each third between.
    SensitiveLayer,
    EightExperts,
}

use Kind::{AttentionK, AttentionOutput, AttentionV, FfnDown};
use When::{EightExperts, SensitiveLayer};

#[rustfmt::skip]
static RECIPES: &[Recipe] = &[
    Recipe { name: "Q4_K_M", file_type: 15, base: DType::Q4_K, rules: &[
        (AttentionV, SensitiveLayer, DType::Q6_K),
        (FfnDown, SensitiveLayer, DType::Q6_K),
        (AttentionOutput, EightExperts, DType::Q5_K),
    ]},
];

/// llama.cpp's numbers for files of mostly one type.
#[rustfmt::skip]
const FILE_TYPES: &[(DType, u32)] = &[
    (DType::F32, 0), (DType::F16, 1), (DType::Bf16, 32),
    (DType::Q4_0, 2), (DType::Q4_1, 3), (DType::Q5_0, 8), (DType::Q5_1, 9), (DType::Q8_0, 7),
    (DType::Q2_K, 10), (DType::Q3_K, 11), (DType::Q4_K, 14), (DType::Q5_K, 16), (DType::Q6_K, 18),
    (DType::IQ4_NL, 25), (DType::IQ4_XS, 30),
];

/// llama.cpp's number for files that no other number describes.
const FILE_TYPE_GUESSED: u32 = 1024;

impl Target {
    /// The recipe or type called `name`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|target| target.name().eq_ignore_ascii_case(name))
    }

    /// Every target there is: types that are written, then recipes.
    pub fn all() -> impl Iterator<Item = Self> {
        let written = DType::ALL.iter().filter(|t| t.can_quantize());
        let types = written.map(|&dtype| Self::Plain(dtype));
        types.chain(RECIPES.iter().map(Self::Recipe))
    }

    /// The name that users know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain(dtype) => dtype.name(),
            Self::Recipe(recipe) => recipe.name,
        }
    }

    /// The type of matrices without a rule.
    pub fn base(self) -> DType {
        match self {
            Self::Plain(dtype) => dtype,
            Self::Recipe(recipe) => recipe.base,
        }
    }

    /// The value of `general.file_type`.
    pub(crate) fn file_type(self) -> u32 {
        match self {
            Self::Recipe(recipe) => recipe.file_type,
            Self::Plain(dtype) => FILE_TYPES
                .iter()
                .find(|(t, _)| *t == dtype)
                .map_or(FILE_TYPE_GUESSED, |(_, n)| *n),
        }
    }

    /// The type of a tensor with this role.
    pub(crate) fn dtype(self, role: Role, facts: &Facts) -> DType {
        let base = self.base();
        if !role.is_matrix() {
            return DType::F32;
        }
        if !base.is_quantized() {
            return base;
        }
        let eight_experts = facts.experts == 8;
        match role.kind {
            Kind::Output => return output_type(base),
            Kind::Embedding if facts.tied => return output_type(base),
            AttentionK | AttentionV if eight_experts => return DType::Q8_0,
            _ => {}
        }
        let rules = if let Self::Recipe(recipe) = self {
            recipe.rules
        } else {
            &[]
        };
        let holds = |when: &When| match when {
            SensitiveLayer => is_sensitive(role.layer, facts.layers),
            EightExperts => eight_experts,
        };
        let rule = rules
            .iter()
            .find(|(kind, when, _)| *kind == role.kind && holds(when));
        rule.map_or(base, |(_, _, dtype)| *dtype)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn output_type(base: DType) -> DType {
    if base == DType::Q8_0 {
        DType::Q8_0
    } else {
        DType::Q6_K
    }
}

fn is_sensitive(layer: u64, layers: u64) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The nearest type to `dtype` whose blocks fill rows of `columns` values.
pub(crate) fn fit(mut dtype: DType, columns: u64) -> DType {
    while !columns.is_multiple_of(dtype.block_len() as u64) {
        dtype = match dtype {
            DType::Q2_K | DType::Q3_K => DType::Q4_0,
            DType::IQ4_XS => DType::IQ4_NL,
            DType::Q4_K => DType::Q5_0,
            DType::Q5_K => DType::Q5_1,
            DType::Q6_K => DType::Q8_0,
            _ => DType::F16,
        };
    }
    dtype
}

/// What types depend on, besides the tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub layers: u64,
    /// 0 without experts.
    pub experts: u64,
    /// Whether the embedding is the output matrix too.
    pub tied: bool,
}

impl Facts {
    pub(crate) fn of(metadata: &Metadata, tensors: &[Tensor]) -> Result<Self, GgufError> {
        Ok(Self {
            layers: metadata.u32("llama.block_count")?.unwrap_or(0).into(),
            experts: metadata.u32("llama.expert_count")?.unwrap_or(0).into(),
            tied: tensors.iter().all(|tensor| tensor.name != "output.weight"),
        })
    }
}

/// What a tensor is in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    kind: Kind,
    layer: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A norm or bias.
    Vector,
    /// The choice of experts.
    Router,
    Embedding,
    Output,
    AttentionK,
    AttentionV,
    AttentionOutput,
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
            Some("attn_k") => AttentionK,
            Some("attn_v") => AttentionV,
            Some("attn_output") => AttentionOutput,
            Some("ffn_down" | "ffn_down_exps") => FfnDown,
            _ => Kind::OtherMatrix,
        };
        Self { kind, layer }
    }

    /// Whether the target says the type.
    pub(crate) fn is_matrix(self) -> bool {
        !matches!(self.kind, Kind::Vector | Kind::Router)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dtype(target: &str, name: &str, facts: Facts) -> DType {
        Target::from_name(target)
            .unwrap()
            .dtype(Role::of(name, &[256, 256]), &facts)
    }

    #[test]
    fn names_lead_back_to_targets() {
        for target in Target::all() {
            assert_eq!(Target::from_name(&target.name().to_lowercase()), Some(target));
            assert_ne!(target.file_type(), FILE_TYPE_GUESSED, "{target} has a number");
        }
        assert_eq!(Target::from_name("Q9"), None);
    }

    #[test]
    fn q4_k_m_of_32_layers() {
        let facts = Facts {
            layers: 32,
            experts: 0,
            tied: false,
        };
        let sensitive: Vec<u64> = (0..32)
            .filter(|n| dtype("Q4_K_M", &format!("blk.{n}.attn_v.weight"), facts) == DType::Q6_K)
            .collect();
        assert_eq!(
            sensitive,
            [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
        );
        assert_eq!(dtype("Q4_K_M", "blk.6.ffn_down.weight", facts), DType::Q6_K);
        assert_eq!(dtype("Q4_K_M", "blk.7.ffn_down.weight", facts), DType::Q4_K);
        assert_eq!(dtype("Q4_K_M", "blk.0.attn_q.weight", facts), DType::Q4_K);
        assert_eq!(dtype("Q4_K_M", "blk.0.attn_norm.weight", facts), DType::F32);
        assert_eq!(dtype("Q4_K_M", "token_embd.weight", facts), DType::Q4_K);
        assert_eq!(dtype("Q4_K_M", "output.weight", facts), DType::Q6_K);
        assert_eq!(
            dtype("Q4_K_M", "token_embd.weight", Facts { tied: true, ..facts }),
            DType::Q6_K
        );
    }

    #[test]
    fn eight_experts() {
        let facts = Facts {
            layers: 32,
            experts: 8,
            tied: false,
        };
        for (name, expected) in [
            ("blk.0.attn_k.weight", DType::Q8_0),
            ("blk.0.attn_v.weight", DType::Q8_0),
            ("blk.0.attn_output.weight", DType::Q5_K),
            ("blk.0.ffn_gate_inp.weight", DType::F32),
            ("blk.0.ffn_down_exps.weight", DType::Q6_K),
            ("blk.5.ffn_down.3.weight", DType::Q4_K),
            ("blk.0.ffn_up_exps.weight", DType::Q4_K),
        ] {
            assert_eq!(dtype("Q4_K_M", name, facts), expected, "{name}");
        }
        assert_eq!(dtype("Q4_0", "blk.0.attn_k.weight", facts), DType::Q8_0);
        assert_eq!(dtype("F16", "blk.0.attn_k.weight", facts), DType::F16);
        assert_eq!(dtype("F16", "output.weight", facts), DType::F16);
        assert_eq!(dtype("Q8_0", "output.weight", facts), DType::Q8_0);
    }

    #[test]
    fn types_that_do_not_fit_fall_back() {
        for (dtype, columns, expected) in [
            (DType::Q4_K, 512, DType::Q4_K),
            (DType::Q4_K, 288, DType::Q5_0),
            (DType::Q2_K, 32, DType::Q4_0),
            (DType::Q6_K, 64, DType::Q8_0),
            (DType::Q6_K, 48, DType::F16),
            (DType::Q4_0, 20, DType::F16),
            (DType::IQ4_XS, 288, DType::IQ4_NL),
            (DType::IQ4_XS, 40, DType::F16),
            (DType::F32, 1, DType::F32),
        ] {
            assert_eq!(fit(dtype, columns), expected);
        }
    }
}
