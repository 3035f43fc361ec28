//! Hugging Face's names of the modules that adapters are for.
//!
//! ```text
//! model.layers.N.self_attn.q_proj
//! model.layers.N.block_sparse_moe.experts.E.w1        of a mixture, before transformers 5
//! model.embed_tokens, lm_head
//! ```
//!
//! Wrappers around the text model add `language_model` somewhere in front.

use super::key::{Fault, MERGE};
use crate::{FfnMatrix, LayerTensor, TensorName};

/// The modules of a layer.
const IN_LAYERS: [(&str, LayerTensor); 9] = [
    ("self_attn.q_proj", LayerTensor::Query),
    ("self_attn.k_proj", LayerTensor::Key),
    ("self_attn.v_proj", LayerTensor::Value),
    ("self_attn.o_proj", LayerTensor::AttentionOutput),
    ("mlp.gate_proj", LayerTensor::Ffn(FfnMatrix::Gate)),
    ("mlp.up_proj", LayerTensor::Ffn(FfnMatrix::Up)),
    ("mlp.down_proj", LayerTensor::Ffn(FfnMatrix::Down)),
    ("block_sparse_moe.gate", LayerTensor::Router),
    ("mlp.gate", LayerTensor::Router),
];

/// The matrices of an expert.
const OF_EXPERTS: [(&str, FfnMatrix); 3] = [
    ("w1", FfnMatrix::Gate),
    ("w2", FfnMatrix::Down),
    ("w3", FfnMatrix::Up),
];

/// The matrix that a module is.
pub(super) fn target(module: &str) -> Result<TensorName, Fault> {
    let mut rest = module;
    while let Some(inner) = ["model.", "language_model."]
        .iter()
        .find_map(|wrapper| rest.strip_prefix(wrapper))
    {
        rest = inner;
    }
    match rest {
        "embed_tokens" => return Ok(TensorName::Embedding),
        "lm_head" => return Ok(TensorName::Output),
        _ => {}
    }
    let layer = rest.strip_prefix("layers.").and_then(|rest| {
        let (layer, within) = rest.split_once('.')?;
        Some((number(layer)?, within))
    });
    match layer.map(|(layer, within)| (layer, in_layer(within))) {
        Some((layer, Some(tensor))) => Ok(TensorName::Layer(layer, tensor)),
        _ if rest.contains("mlp.experts") => Err(Fault::new(
            "is for fused experts (target_parameters), which is not supported",
            MERGE,
        )),
        _ => Err(Fault::new(
            "is for no matrix of a Mistral's or Mixtral's text model",
            "give an adapter that was trained on such a model, or train one without this module",
        )),
    }
}

fn in_layer(within: &str) -> Option<LayerTensor> {
    if let Some((_, tensor)) = IN_LAYERS.iter().find(|(name, _)| *name == within) {
        return Some(*tensor);
    }
    let (expert, matrix) = within
        .strip_prefix("block_sparse_moe.experts.")?
        .split_once('.')?;
    let (_, matrix) = OF_EXPERTS.iter().find(|(name, _)| *name == matrix)?;
    Some(LayerTensor::Expert(*matrix, number(expert)?))
}

/// The number that `digits` are, written as usual.
fn number(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_wrappers_too() {
        let query = TensorName::Layer(3, LayerTensor::Query);
        for wrapper in [
            "model.",
            "",
            "language_model.model.",
            "model.language_model.",
            "model.language_model.model.",
        ] {
            let module = format!("{wrapper}layers.3.self_attn.q_proj");
            assert_eq!(target(&module), Ok(query), "{module}");
        }
        for (module, expected) in [
            (
                "model.layers.1.block_sparse_moe.experts.7.w2",
                TensorName::Layer(1, LayerTensor::Expert(FfnMatrix::Down, 7)),
            ),
            (
                "model.layers.1.mlp.gate",
                TensorName::Layer(1, LayerTensor::Router),
            ),
            ("language_model.lm_head", TensorName::Output),
            ("model.embed_tokens", TensorName::Embedding),
        ] {
            assert_eq!(target(module), Ok(expected), "{module}");
        }
    }

    #[test]
    fn other_modules_are_refused() {
        for module in [
            "",
            "model",
            "model.layers.03.self_attn.q_proj",
            "model.layers.99999999999999999999.self_attn.q_proj",
            "model.vision_tower.transformer.layers.0.attention.q_proj",
            "model.layers.0.self_attn.qkv_proj",
            "model.layers.0.mlp.experts",
            "model.layers.0.mlp.experts.base_layer",
            "model.layers.0.block_sparse_moe.experts.0.w4",
            "transformer.h.0.attn",
        ] {
            assert!(target(module).is_err(), "{module}");
        }
    }
}
