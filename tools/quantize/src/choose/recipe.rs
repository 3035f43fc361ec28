//! Which tensor gets which type: plain types and recipes, as GGUF users know them from llama.cpp.
//!
//! Vectors and the routers of experts stay F32. For quantized targets the output matrix (the
//! embedding, when they are one) gets Q6_K, K and V of models with 8 experts get Q8_0, and a
//! recipe's rules say the rest.

use crate::choose::role::{Kind, ModelFacts, Role};
use bise_kernels::block::DType;
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
    Always,
    /// The first layers, this many.
    First(u64),
    /// The first of so many equal parts of the layers.
    FirstPart(u64),
    /// The same, with an importance matrix.
    WeightedFirstPart(u64),
    /// The same, without one.
    UnweightedFirstPart(u64),
    /// The first and last eighth of the layers, and each third between.
    SensitiveLayer,
    /// At least four query heads share a key and value head.
    Grouped,
    EightExperts,
}

use DType::{IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K};
use Kind::{AttentionK, AttentionOutput, AttentionV, FfnDown};
use When::{
    Always, EightExperts, First, FirstPart, Grouped, SensitiveLayer, UnweightedFirstPart,
    WeightedFirstPart,
};

#[rustfmt::skip]
static RECIPES: &[Recipe] = &[
    Recipe { name: "Q4_0", file_type: 2, base: Q4_0, rules: &[(FfnDown, WeightedFirstPart(8), Q4_1)] },
    Recipe { name: "Q5_0", file_type: 8, base: Q5_0, rules: &[(FfnDown, WeightedFirstPart(8), Q5_1)] },
    Recipe { name: "Q2_K", file_type: 10, base: Q2_K, rules: &[
        (AttentionV, Grouped, Q4_K), (AttentionV, Always, Q3_K),
        (AttentionOutput, EightExperts, Q5_K), (AttentionOutput, Always, Q3_K),
        (FfnDown, Always, Q3_K),
    ]},
    Recipe { name: "Q2_K_S", file_type: 21, base: Q2_K, rules: &[
        (AttentionV, Grouped, Q4_K),
        (FfnDown, FirstPart(8), Q4_K),
    ]},
    Recipe { name: "Q3_K_S", file_type: 11, base: Q3_K, rules: &[(AttentionOutput, EightExperts, Q5_K)] },
    Recipe { name: "Q3_K_M", file_type: 12, base: Q3_K, rules: &[
        (AttentionV, First(2), Q5_K), (AttentionV, Always, Q4_K),
        (AttentionOutput, EightExperts, Q5_K), (AttentionOutput, Always, Q4_K),
        (FfnDown, FirstPart(16), Q5_K), (FfnDown, Always, Q4_K),
    ]},
    Recipe { name: "Q3_K_L", file_type: 13, base: Q3_K, rules: &[
        (AttentionV, Always, Q5_K),
        (AttentionOutput, EightExperts, Q3_K), (AttentionOutput, Always, Q5_K),
        (FfnDown, Always, Q5_K),
    ]},
    Recipe { name: "Q4_K_S", file_type: 14, base: Q4_K, rules: &[
        (AttentionV, First(4), Q5_K),
        (AttentionOutput, EightExperts, Q5_K),
        (FfnDown, FirstPart(8), Q5_K),
    ]},
    Recipe { name: "Q4_K_M", file_type: 15, base: Q4_K, rules: &[
        (AttentionV, SensitiveLayer, Q6_K),
        (AttentionOutput, EightExperts, Q5_K),
        (FfnDown, SensitiveLayer, Q6_K),
    ]},
    Recipe { name: "Q5_K_S", file_type: 16, base: Q5_K, rules: &[] },
    Recipe { name: "Q5_K_M", file_type: 17, base: Q5_K, rules: &[
        (AttentionV, SensitiveLayer, Q6_K),
        (FfnDown, SensitiveLayer, Q6_K),
    ]},
    Recipe { name: "IQ4_NL", file_type: 25, base: IQ4_NL, rules: IQ4_RULES },
    Recipe { name: "IQ4_XS", file_type: 30, base: IQ4_XS, rules: IQ4_RULES },
];

const IQ4_RULES: &[(Kind, When, DType)] = &[
    (AttentionV, Grouped, Q5_K),
    (AttentionOutput, EightExperts, Q5_K),
    (FfnDown, UnweightedFirstPart(8), Q5_K),
];

/// Other names of recipes.
const ALIASES: [(&str, &str); 3] = [("Q3_K", "Q3_K_M"), ("Q4_K", "Q4_K_M"), ("Q5_K", "Q5_K_M")];

/// Types that a matrix may be given within a size, the smallest first, as far as they fit.
pub(crate) const CANDIDATES: [DType; 7] = [Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, DType::Q8_0, DType::F16];

/// llama.cpp's numbers for files of mostly one type.
#[rustfmt::skip]
const FILE_TYPES: &[(DType, u32)] = &[
    (DType::F32, 0), (DType::F16, 1), (DType::Bf16, 32),
    (Q4_0, 2), (Q4_1, 3), (Q5_0, 8), (Q5_1, 9), (DType::Q8_0, 7),
    (Q2_K, 10), (Q3_K, 11), (Q4_K, 14), (Q5_K, 16), (Q6_K, 18),
    (IQ4_NL, 25), (IQ4_XS, 30),
];

/// llama.cpp's number for files that no other number describes.
const FILE_TYPE_GUESSED: u32 = 1024;

impl Target {
    /// The recipe or type called `name`, in any case. Where a recipe is called as a type is, the
    /// recipe is meant.
    pub fn from_name(name: &str) -> Option<Self> {
        let same = |other: &str| other.eq_ignore_ascii_case(name);
        let name = ALIASES
            .iter()
            .find(|(alias, _)| same(alias))
            .map_or(name, |(_, name)| name);
        Self::all().find(|target| target.name().eq_ignore_ascii_case(name))
    }

    /// Every target that has a name of its own: types, then recipes.
    pub fn all() -> impl Iterator<Item = Self> {
        let named_otherwise = |name| {
            let recipes = RECIPES.iter().map(|recipe| recipe.name);
            recipes
                .chain(ALIASES.map(|(alias, _)| alias))
                .any(|other| other == name)
        };
        let types = DType::ALL
            .iter()
            .filter(move |dtype| dtype.can_quantize() && !named_otherwise(dtype.name()));
        types
            .map(|&dtype| Self::Plain(dtype))
            .chain(RECIPES.iter().map(Self::Recipe))
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
    pub(crate) fn dtype(self, role: Role, facts: &ModelFacts) -> DType {
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
        let rule = rules
            .iter()
            .find(|(kind, when, _)| *kind == role.kind && when.holds(role.layer, facts));
        match rule.map_or(base, |(_, _, dtype)| *dtype) {
            // Of 80 layers is the Llama of 70B, whose V is small and serves many.
            Q3_K | Q4_K if role.kind == AttentionV && facts.layers == 80 && facts.group > 1 => Q5_K,
            dtype => dtype,
        }
    }
}

impl When {
    fn holds(self, layer: u64, facts: &ModelFacts) -> bool {
        match self {
            Always => true,
            First(n) => layer < n,
            FirstPart(parts) => layer < facts.layers / parts,
            WeightedFirstPart(parts) => facts.weighted && layer < facts.layers / parts,
            UnweightedFirstPart(parts) => !facts.weighted && layer < facts.layers / parts,
            SensitiveLayer => is_sensitive(layer, facts.layers),
            Grouped => facts.group >= 4,
            EightExperts => facts.experts == 8,
        }
    }
}

impl Default for Target {
    /// What stands for all types where something else chooses them.
    fn default() -> Self {
        Self::Plain(DType::Q8_0)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn output_type(base: DType) -> DType {
    if base == DType::Q8_0 { base } else { Q6_K }
}

fn is_sensitive(layer: u64, layers: u64) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The nearest type to `dtype` whose blocks fill rows of `columns` values.
pub(crate) fn fit(mut dtype: DType, columns: u64) -> DType {
    while !columns.is_multiple_of(dtype.block_len() as u64) {
        dtype = match dtype {
            Q2_K | Q3_K => Q4_0,
            IQ4_XS => IQ4_NL,
            Q4_K => Q5_0,
            Q5_K => Q5_1,
            Q6_K => DType::Q8_0,
            _ => DType::F16,
        };
    }
    dtype
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dtype(target: &str, name: &str, facts: ModelFacts) -> DType {
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
        for dtype in DType::ALL {
            let base = Target::from_name(dtype.name()).map(Target::base);
            assert_eq!(base, Some(*dtype).filter(|dtype| dtype.can_quantize()));
        }
        assert_eq!(Target::from_name("q4_k"), Target::from_name("Q4_K_M"));
        assert_eq!(Target::from_name("Q9"), None);
    }

    #[test]
    fn q4_k_m_of_32_layers() {
        let facts = ModelFacts {
            layers: 32,
            ..ModelFacts::default()
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
            dtype(
                "Q4_K_M",
                "token_embd.weight",
                ModelFacts {
                    tied: true,
                    ..facts
                }
            ),
            DType::Q6_K
        );
    }

    #[test]
    fn eight_experts() {
        let facts = ModelFacts {
            layers: 32,
            experts: 8,
            ..ModelFacts::default()
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

    /// llama.cpp's quantizer made the same choices; `tools/fixtures/recipe_goldens.py` asked it.
    #[test]
    fn the_choices_are_those_of_llama_cpp() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/recipes.json");
        let golden: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut compared = 0;
        for model in golden["models"].as_array().unwrap() {
            let number = |key: &str| model[key].as_u64().unwrap();
            let facts = ModelFacts {
                layers: number("layers"),
                experts: number("experts"),
                group: number("heads") / number("kv_heads"),
                tied: model["tied"].as_bool().unwrap(),
                weighted: model["weighted"].as_bool().unwrap(),
            };
            for (name, parts) in model["types"].as_object().unwrap() {
                // Types that cannot be written yet.
                let Some(target) = Target::from_name(name) else {
                    continue;
                };
                for (part, runs) in parts.as_object().unwrap() {
                    let columns = number(if part.starts_with("ffn_down") {
                        "hidden"
                    } else {
                        "width"
                    });
                    let expected = runs.as_array().unwrap().chunks(2).flat_map(|run| {
                        std::iter::repeat_n(
                            run[0].as_str().unwrap(),
                            run[1].as_u64().unwrap() as usize,
                        )
                    });
                    for (layer, expected) in expected.enumerate() {
                        let name = if matches!(&part[..], "output" | "token_embd") {
                            format!("{part}.weight")
                        } else {
                            format!("blk.{layer}.{part}.weight")
                        };
                        let found =
                            fit(target.dtype(Role::of(&name, &[columns, 256]), &facts), columns);
                        assert_eq!(found.name(), expected, "{target}, {name}, {facts:?}");
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 20_000, "{compared} choices");
    }
}
