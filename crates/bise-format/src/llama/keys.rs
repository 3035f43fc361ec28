//! The keys of an architecture: all that llama.cpp knows, sorted by what they mean for Mistral and
//! Mixtral.

use super::LlamaError;
use super::architecture::Architecture;
use super::scaling::{self, temperature};
use crate::gguf::{Array, Metadata, Value};

/// What becomes of a key, such as `llama.block_count`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// The model is run as it says.
    Applied,
    /// It has no part in the result.
    Harmless,
    /// Refused, but for values that are as if it were not there.
    Refused(&'static [Neutral]),
}

/// A value that is as if its key were not there; an array that holds nothing else is too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Neutral {
    /// This number, of whatever type.
    Number(f64),
    /// This truth value.
    Truth(bool),
    /// This text.
    Text(&'static str),
    /// The number of another key of the architecture.
    As(&'static str),
    /// One over the square root of a head's width.
    UsualScale,
}

use Meaning::{Applied, Harmless, Refused};
use Neutral::{As, Number, Text, Truth, UsualScale};

/// Off: what other kinds of models have.
const OFF: Meaning = Refused(&[Number(0.0), Truth(false), Text("")]);
/// A factor; files have 0 where it is not set.
const FACTOR: Meaning = Refused(&[Number(0.0), Number(1.0)]);
/// Of each so many layers; 1 is all.
const EACH: Meaning = FACTOR;

/// Keys without the architecture's name, and beginnings of keys, which end in a point.
#[rustfmt::skip]
const KEYS: [(&str, Meaning); 137] = [
    ("context_length", Applied),
    ("embedding_length", Applied),
    ("block_count", Applied),
    ("feed_forward_length", Applied),
    ("attention.head_count", Applied),
    ("attention.head_count_kv", Applied),
    ("attention.key_length", Applied),
    ("attention.value_length", Applied),
    ("attention.layer_norm_rms_epsilon", Applied),
    ("attention.sliding_window", Applied),
    ("attention.sliding_window_pattern", Applied),
    ("rope.dimension_count", Applied),
    ("rope.freq_base", Applied),
    ("expert_count", Applied),
    ("expert_used_count", Applied),
    // The rows of the embeddings tell.
    ("vocab_size", Harmless),
    ("rope.scaling.finetuned", Harmless),
    ("rope.scale_linear", Applied),
    ("rope.scaling.type", Applied),
    ("rope.scaling.factor", Applied),
    ("rope.scaling.original_context_length", Applied),
    ("rope.scaling.yarn_log_multiplier", Applied),
    ("rope.scaling.yarn_ext_factor", Applied),
    ("rope.scaling.yarn_beta_fast", Applied),
    ("rope.scaling.yarn_beta_slow", Applied),
    ("rope.scaling.alpha", FACTOR),
    ("rope.scaling.attn_factor", Applied),
    ("rope.scaling.yarn_attn_factor", Applied),
    ("rope.dimension_sections", OFF),
    ("rope.dimension_count_swa", Refused(&[Number(0.0), As("rope.dimension_count")])),
    ("rope.freq_base_swa", Refused(&[Number(0.0), As("rope.freq_base")])),
    ("tensor_data_layout", Refused(&[Text("Meta AI original pth")])),
    ("embedding_length_out", Refused(&[Number(0.0), As("embedding_length")])),
    ("expert_feed_forward_length", Refused(&[Number(0.0), As("feed_forward_length")])),
    ("expert_shared_feed_forward_length", OFF),
    ("expert_chunk_feed_forward_length", OFF),
    ("expert_shared_count", OFF),
    ("expert_group_count", FACTOR),
    ("expert_group_used_count", FACTOR),
    ("expert_group_scale", FACTOR),
    ("experts_per_group", OFF),
    ("expert_latent_length", OFF),
    ("expert_weights_scale", FACTOR),
    ("expert_weights_norm", Refused(&[Truth(true)])),
    ("expert_gating_func", Refused(&[Number(0.0), Number(1.0)])),
    ("leading_dense_block_count", OFF),
    ("moe_every_n_layers", EACH),
    ("interleave_moe_layer_step", EACH),
    ("full_attention_interval", EACH),
    ("moe_latent_size", OFF),
    ("swiglu_clamp_exp", OFF),
    ("swiglu_clamp_shexp", OFF),
    ("use_parallel_residual", OFF),
    ("nextn_predict_layers", OFF),
    ("n_deepstack_layers", OFF),
    ("deepstack_mapping", OFF),
    ("hidden_activation", Refused(&[Text("silu"), Text("swish")])),
    // How embeddings are made: of none, the mean, the first or the last token. Ranks need a head.
    ("pooling_type", Refused(&[Number(0.0), Number(1.0), Number(2.0), Number(3.0), Number(-1.0), Number(4294967295.0)])),
    ("classifier.", OFF),
    ("logit_scale", FACTOR),
    ("residual_scale", FACTOR),
    ("embedding_scale", FACTOR),
    ("decoder_start_token_id", Refused(&[Number(-1.0), Number(4294967295.0)])),
    ("decoder_block_count", OFF),
    ("attn_logit_softcapping", OFF),
    ("router_logit_softcapping", OFF),
    ("final_logit_softcapping", OFF),
    ("swin_norm", OFF),
    ("rescale_every_n_layers", OFF),
    ("time_mix_extra_dim", OFF),
    ("time_decay_extra_dim", OFF),
    ("token_shift_count", OFF),
    ("num_loops", EACH),
    ("skip_loop_final_norm", OFF),
    ("activation_sparsity_scale", OFF),
    ("embedding_length_per_layer_input", OFF),
    ("features_length", OFF),
    ("hash_layer_count", OFF),
    ("block_size", OFF),
    ("conv_kernel_size", OFF),
    ("conv_group_size", OFF),
    ("selector_rank", OFF),
    ("selector_top_k", OFF),
    ("target_layers", OFF),
    ("target_hidden_size", OFF),
    ("norm_before_residual", OFF),
    ("norm_before_fc", OFF),
    ("dense_2_feat_in", OFF),
    ("dense_2_feat_out", OFF),
    ("dense_3_feat_in", OFF),
    ("dense_3_feat_out", OFF),
    ("attention.causal", Refused(&[Truth(true)])),
    ("attention.scale", Refused(&[Number(0.0), UsualScale])),
    ("attention.output_scale", FACTOR),
    ("attention.value_scale", FACTOR),
    ("attention.layer_norm_epsilon", Refused(&[Number(0.0), As("attention.layer_norm_rms_epsilon")])),
    ("attention.group_norm_epsilon", OFF),
    ("attention.group_norm_groups", OFF),
    ("attention.max_alibi_bias", OFF),
    ("attention.clamp_kqv", OFF),
    ("attention.q_lora_rank", OFF),
    ("attention.kv_lora_rank", OFF),
    ("attention.kv_lora_rank_swa", OFF),
    ("attention.decay_lora_rank", OFF),
    ("attention.iclr_lora_rank", OFF),
    ("attention.value_residual_mix_lora_rank", OFF),
    ("attention.gate_lora_rank", OFF),
    ("attention.relative_buckets_count", OFF),
    ("attention.temperature_scale", Applied),
    ("attention.temperature_length", Refused(&[Number(0.0), As("rope.scaling.original_context_length")])),
    ("attention.key_length_mla", OFF),
    ("attention.value_length_mla", OFF),
    ("attention.key_length_mla_swa", OFF),
    ("attention.value_length_mla_swa", OFF),
    ("attention.key_length_swa", Refused(&[Number(0.0), As("attention.key_length")])),
    ("attention.value_length_swa", Refused(&[Number(0.0), As("attention.value_length")])),
    ("attention.rope_pattern", OFF),
    ("attention.shared_kv_layers", OFF),
    ("attention.recurrent_layers", OFF),
    ("attention.output_group_count", OFF),
    ("attention.output_lora_rank", OFF),
    ("attention.compress_rope_freq_base", OFF),
    ("attention.compress_ratios", OFF),
    ("attention.indexer.", OFF),
    ("attn_res.", OFF),
    ("activation.", OFF),
    ("adapters.", OFF),
    ("altup.", OFF),
    ("convnext.", OFF),
    ("hrm.", OFF),
    ("hyper_connection.", OFF),
    ("kda.", OFF),
    ("ple.", OFF),
    ("posnet.", OFF),
    ("shortconv.", OFF),
    ("ssm.", OFF),
    ("wkv.", OFF),
];

/// What the key `ARCHITECTURE.NAME` means; `None` when nobody knows.
pub fn meaning(name: &str) -> Option<Meaning> {
    let is = |key: &str| {
        if key.ends_with('.') {
            name.starts_with(key)
        } else {
            name == key
        }
    };
    KEYS.iter().find(|(key, _)| is(key)).map(|(_, meaning)| *meaning)
}

/// Keys that hold a number, or one for each layer, which then are all the same but for windows.
pub const OF_LAYERS: [&str; 5] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.sliding_window",
    "feed_forward_length",
    "expert_used_count",
];

/// Checks architecture and keys; returns what the user should know.
///
/// # Errors
/// When the file is of another architecture, is no model, or a key would change the result and is
/// not applied.
pub fn check_metadata(metadata: &Metadata) -> Result<Vec<String>, LlamaError> {
    let architecture = check_kind(metadata)?;
    temperature(metadata)?;
    check_layers(architecture, metadata)?;
    let mut notes: Vec<String> = scaling::note(metadata)?.into_iter().collect();
    for (key, value) in metadata.iter() {
        let Some(name) = architecture.name_of(key) else {
            continue;
        };
        match meaning(name) {
            Some(Refused(neutral))
                if !neutral.iter().any(|one| one.is(value, architecture, metadata)) =>
            {
                return Err(LlamaError::Key {
                    key: key.to_owned(),
                    found: value.to_string(),
                    expected: expected(neutral, architecture),
                });
            }
            Some(_) => {}
            None => notes.push(format!(
                "metadata key '{key}' is not known and was passed over: {value}"
            )),
        }
    }
    Ok(notes)
}

fn check_kind(metadata: &Metadata) -> Result<Architecture, LlamaError> {
    let kind = metadata.str("general.type")?.unwrap_or("model");
    let hint = match kind {
        "adapter" => {
            "a LoRA adapter is no model by itself\ngive its base model, and the adapter with it: --lora FILE"
        }
        "mmproj" => {
            "a projector for images is no model by itself\ngive the file of the language model"
        }
        "imatrix" => "an importance matrix is no model\ngive it to: bise quantize --imatrix",
        _ => return Architecture::of(metadata),
    };
    let found = kind.to_owned();
    Err(LlamaError::Type { found, hint })
}

/// Keys that hold a number for each layer hold as many as there are layers.
fn check_layers(architecture: Architecture, metadata: &Metadata) -> Result<(), LlamaError> {
    let layers = metadata.u64(&architecture.key("block_count"))?.unwrap_or(0);
    for name in OF_LAYERS {
        let key = architecture.key(name);
        if name != "attention.sliding_window" {
            metadata.of_all_layers(&key)?;
        }
        if let Some(Value::Array(array)) = metadata.get(&key)
            && array.len() as u64 != layers
        {
            return Err(LlamaError::Key {
                key,
                found: format!("{} values", array.len()),
                expected: format!("one number, or one for each of {layers} layers"),
            });
        }
    }
    Ok(())
}

impl Neutral {
    fn is(&self, value: &Value, architecture: Architecture, metadata: &Metadata) -> bool {
        if let Value::Array(array) = value {
            let values = array.values();
            return values.iter().all(|value| self.is(value, architecture, metadata));
        }
        let other = |name: &str| metadata.get(&architecture.key(name)).and_then(number);
        match (*self, value) {
            (Truth(expected), Value::Bool(found)) => *found == expected,
            (Text(expected), Value::String(found)) => found == expected,
            (Number(expected), _) => number(value) == Some(expected),
            (As(name), _) => number(value).is_some() && number(value) == other(name),
            (UsualScale, _) => {
                let per_head = || Some(other("embedding_length")? / other("attention.head_count")?);
                let usual = other("attention.key_length")
                    .or_else(per_head)
                    .map(|width| 1.0 / width.sqrt());
                let close = |(found, usual): (f64, f64)| (found - usual).abs() <= 1e-6 * usual;
                number(value).zip(usual).is_some_and(close)
            }
            _ => false,
        }
    }
}

/// The first of the neutral values, for messages.
fn expected(neutral: &[Neutral], architecture: Architecture) -> String {
    let one = |neutral: &Neutral| match neutral {
        Number(number) => number.to_string(),
        Truth(truth) => truth.to_string(),
        Text(text) => format!("{text:?}"),
        As(name) => format!("the value of {}", architecture.key(name)),
        UsualScale => "one over the square root of a head's width".to_owned(),
    };
    let last = neutral.last().map(one).unwrap_or_default();
    match neutral {
        [Number(_), Truth(_), Text(_)] => "0 or no such key".to_owned(),
        _ => format!("{last} or no such key"),
    }
}

/// A number of any type, or the one that all layers share.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::F32(v) => Some(f64::from(*v)),
        Value::F64(v) => Some(*v),
        Value::Array(array) => shared(array),
        other => other.integer().map(|v| v as f64),
    }
}

fn shared(array: &Array) -> Option<f64> {
    let values = array.values();
    let first = values.first().filter(|first| !matches!(first, Value::Array(_)))?;
    values.iter().all(|value| value == first).then(|| number(first))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(entries: &[(&str, Value)]) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", "llama");
        metadata.insert("llama.embedding_length", 64u32);
        metadata.insert("llama.attention.head_count", 4u32);
        metadata.insert("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
        for (key, value) in entries {
            metadata.insert(*key, value.clone());
        }
        metadata
    }

    #[test]
    fn values_that_change_the_result_are_refused_by_name() {
        let refused: [(&str, Value); 21] = [
            ("llama.rope.scale_linear", (-4f32).into()),
            ("llama.rope.scaling.factor", f32::NAN.into()),
            ("llama.rope.scaling.type", "longrope".into()),
            ("llama.rope.scaling.attn_factor", f32::INFINITY.into()),
            ("llama.attention.temperature_scale", f32::NAN.into()),
            ("llama.rope.dimension_sections", vec![8i32, 8, 0, 0].into()),
            ("llama.expert_weights_scale", 2.5f32.into()),
            ("llama.expert_gating_func", 2u32.into()),
            ("llama.expert_shared_count", 1u32.into()),
            ("llama.leading_dense_block_count", 1u32.into()),
            ("llama.logit_scale", 0.0625f32.into()),
            ("llama.residual_scale", 0.22f32.into()),
            ("llama.embedding_scale", 12f32.into()),
            ("llama.attention.scale", 0.5f32.into()),
            ("llama.attention.clamp_kqv", 8f32.into()),
            ("llama.attention.causal", false.into()),
            ("llama.attention.layer_norm_epsilon", 1e-6f32.into()),
            ("llama.attention.temperature_length", 8192u32.into()),
            ("llama.use_parallel_residual", true.into()),
            ("llama.pooling_type", 4u32.into()),
            ("llama.nextn_predict_layers", 1u32.into()),
        ];
        for (key, value) in refused {
            let error = check_metadata(&with(&[(key, value)])).expect_err(key).to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn neutral_values_are_as_if_there_were_none() {
        let neutral: [(&str, Value); 20] = [
            ("llama.rope.scale_linear", 1f32.into()),
            ("llama.rope.scaling.factor", 1f32.into()),
            ("llama.rope.scaling.factor", 0f32.into()),
            ("llama.rope.scaling.type", "none".into()),
            ("llama.rope.scaling.type", "linear".into()),
            ("llama.rope.scaling.type", "yarn".into()),
            ("llama.rope.scaling.attn_factor", 1f32.into()),
            ("llama.rope.scaling.original_context_length", 8192u32.into()),
            ("llama.rope.dimension_sections", vec![0i32; 4].into()),
            ("llama.expert_weights_scale", 1f32.into()),
            ("llama.expert_gating_func", 1u32.into()),
            ("llama.expert_shared_count", 0u32.into()),
            ("llama.logit_scale", 1f32.into()),
            ("llama.attention.scale", 0.25f32.into()),
            ("llama.attention.causal", true.into()),
            ("llama.attention.layer_norm_epsilon", 1e-5f32.into()),
            ("llama.use_parallel_residual", false.into()),
            ("llama.pooling_type", 3u32.into()),
            ("llama.tensor_data_layout", "Meta AI original pth".into()),
            ("llama.vocab_size", 32000u32.into()),
        ];
        for (key, value) in neutral {
            let notes =
                check_metadata(&with(&[(key, value)])).unwrap_or_else(|error| panic!("{error}"));
            assert!(notes.is_empty(), "{notes:?}");
        }
        let none = [
            ("llama.rope.scaling.type", Value::from("none")),
            ("llama.rope.scaling.factor", 8f32.into()),
        ];
        assert!(check_metadata(&with(&none)).is_ok());
    }

    #[test]
    fn unknown_keys_are_noted_and_other_files_named() {
        let notes = check_metadata(&with(&[("llama.made_up", 7u32.into())])).unwrap();
        assert!(notes[0].contains("llama.made_up"), "{notes:?}");
        for (key, value, word) in [
            ("general.architecture", "clip", "mmproj"),
            ("general.architecture", "qwen3", "qwen3"),
            ("general.type", "adapter", "LoRA"),
            ("general.type", "imatrix", "importance matrix"),
        ] {
            let error = check_metadata(&with(&[(key, value.into())]))
                .expect_err(value)
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
