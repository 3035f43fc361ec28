//! Names of tensors as PEFT has them:
//!
//! ```text
//! base_model.model.MODULE.lora_A.weight             also lora_A.NAME.weight, with a name
//! base_model.model.MODULE.lora_embedding_A          also lora_embedding_A.NAME
//! base_model.model.MODULE.base_layer.weight         the model's own embeddings, saved along
//! base_model.model.MODULE.weight                    the same, of a module that is not adapted
//! ```

use super::super::pair::Side;
use crate::error::OpenError;
use std::path::Path;

/// A name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// The path of the module in the model.
    pub module: &'a str,
    /// Which of its tensors.
    pub part: Part,
}

/// A tensor of an adapted module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Of a linear map.
    Linear(Side),
    /// Of embeddings.
    Embedding(Side),
    /// The module's own matrix.
    Base,
}

/// Why a name is not one that can be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    problem: &'static str,
    cure: &'static str,
}

impl Fault {
    pub(super) const fn new(problem: &'static str, cure: &'static str) -> Self {
        Self { problem, cure }
    }

    /// Embeddings as linear maps, or the other way round.
    pub(super) const fn kind() -> Self {
        Self::new(
            "is of embeddings where a linear map is, or the other way round",
            "save the adapter again, with PEFT",
        )
    }

    /// As an error about the tensor `name` in `folder`.
    pub(super) fn at(&self, folder: &Path, name: &str) -> OpenError {
        let problem = format!("tensor {name} {}", self.problem);
        OpenError::misplaced(folder, problem, self.cure)
    }
}

const PREFIX: &str = "base_model.model.";

/// Modules whose own matrices PEFT saves along.
const REPEATED: [&str; 2] = ["embed_tokens", "lm_head"];

/// What to do about an adapter that is more than LoRA.
pub(super) const MERGE: &str = "merge the adapter with PEFT (merge_and_unload, save_pretrained), \
                                and give the result as the model";

impl<'a> Key<'a> {
    pub(super) fn parse(name: &'a str) -> Result<Self, Fault> {
        let path = name.strip_prefix(PREFIX).unwrap_or(name);
        let parts = |path: &'a str| -> Vec<&'a str> { path.split('.').collect() };
        let own = path.strip_suffix(".base_layer.weight");
        let own = own.or_else(|| path.strip_suffix(".weight"));
        let repeats =
            |module: &&str| REPEATED.contains(&module.rsplit('.').next().unwrap_or(module));
        if let Some(module) = own.filter(repeats) {
            let part = Part::Base;
            return Ok(Self { module, part });
        }
        if path.contains("modules_to_save.") {
            return Err(Fault::new("is a module that was trained whole", MERGE));
        }
        let Some(at) = path.find(".lora_") else {
            return Err(Fault::new(
                "is none of LoRA: it replaces a tensor of the model, which is not supported",
                MERGE,
            ));
        };
        let (module, rest) = (&path[..at], parts(&path[at + 1..]));
        let part = match rest[..] {
            [.., "bias"] => return Err(Fault::new("is a bias, which is not supported", MERGE)),
            ["lora_magnitude_vector", ..] => {
                return Err(Fault::new("is of DoRA, which is not supported", MERGE));
            }
            ["lora_A", "weight"] | ["lora_A", _, "weight"] => Part::Linear(Side::A),
            ["lora_B", "weight"] | ["lora_B", _, "weight"] => Part::Linear(Side::B),
            ["lora_embedding_A"] | ["lora_embedding_A", _] => Part::Embedding(Side::A),
            ["lora_embedding_B"] | ["lora_embedding_B", _] => Part::Embedding(Side::B),
            _ => return Err(Fault::new("is of a kind of LoRA that is not known", MERGE)),
        };
        Ok(Self { module, part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_peft_writes_them() {
        let query = "model.layers.0.self_attn.q_proj";
        for (name, module, part) in [
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                query,
                Part::Linear(Side::A),
            ),
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_B.my-own.weight",
                query,
                Part::Linear(Side::B),
            ),
            (
                "model.layers.0.self_attn.q_proj.lora_A.weight",
                query,
                Part::Linear(Side::A),
            ),
            (
                "base_model.model.model.embed_tokens.lora_embedding_B",
                "model.embed_tokens",
                Part::Embedding(Side::B),
            ),
            (
                "base_model.model.model.embed_tokens.lora_embedding_A.default",
                "model.embed_tokens",
                Part::Embedding(Side::A),
            ),
            (
                "base_model.model.lm_head.base_layer.weight",
                "lm_head",
                Part::Base,
            ),
        ] {
            assert_eq!(Key::parse(name), Ok(Key { module, part }), "{name}");
        }
    }

    #[test]
    fn matrices_of_the_model_are_told() {
        for (name, module) in [
            ("base_model.model.lm_head.weight", "lm_head"),
            (
                "base_model.model.model.embed_tokens.base_layer.weight",
                "model.embed_tokens",
            ),
        ] {
            let part = Part::Base;
            assert_eq!(Key::parse(name), Ok(Key { module, part }), "{name}");
        }
    }

    #[test]
    fn others_are_refused() {
        for (name, word) in [
            ("base_model.model.lm_head.modules_to_save.weight", "whole"),
            ("base_model.model.model.norm.weight", "replaces"),
            ("x.q_proj.base_layer.weight", "replaces"),
            ("x.q_proj.lora_B.bias", "bias"),
            ("x.q_proj.lora_magnitude_vector", "DoRA"),
            ("x.q_proj.lora_magnitude_vector.default.weight", "DoRA"),
            ("x.q_proj.lora_E", "not known"),
            ("x.q_proj.lora_A", "not known"),
            ("x.q_proj.lora_A.a.b.weight", "not known"),
            ("", "replaces"),
            (".lora_", "not known"),
        ] {
            let fault = Key::parse(name).expect_err(name);
            assert!(fault.problem.contains(word), "{name}: {fault:?}");
        }
    }
}
