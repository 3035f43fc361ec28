//! `config.json`: what of it matters, checked, and as GGUF metadata.

use crate::error::OpenError;
use crate::fp8;
use crate::gguf::{Metadata, Value};
use crate::small_file::read_bounded_json;
use serde::Deserialize;
use std::path::Path;

/// The configuration of a Mistral or a Mixtral.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    pub hidden_size: u64,
    pub intermediate_size: u64,
    pub num_hidden_layers: u64,
    pub num_attention_heads: u64,
    num_key_value_heads: Option<u64>,
    head_dim: Option<u64>,
    pub vocab_size: u64,
    max_position_embeddings: u64,
    rms_norm_eps: f32,
    hidden_act: Option<String>,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    sliding_window: Option<u64>,
    rope_theta: Option<f32>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Rope>,
    num_local_experts: Option<u64>,
    num_experts_per_tok: Option<u64>,
    pub quantization_config: Option<serde_json::Value>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    layer_types: Option<Vec<String>>,
    max_window_layers: Option<u64>,
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
    /// Whether it was made from Mistral's own params.json, whose names errors then use.
    #[serde(skip)]
    native: bool,
}

/// What Hugging Face and Mistral call the same.
const NATIVE_NAMES: [(&str, &str); 10] = [
    ("hidden_size", "dim"),
    ("intermediate_size", "hidden_dim"),
    ("num_hidden_layers", "n_layers"),
    ("num_attention_heads", "n_heads"),
    ("num_key_value_heads", "n_kv_heads"),
    ("max_position_embeddings", "max_seq_len"),
    ("rms_norm_eps", "norm_eps"),
    ("num_local_experts", "moe.num_experts"),
    ("num_experts_per_tok", "moe.num_experts_per_tok"),
    ("tie_word_embeddings", "tied_embeddings"),
];

#[derive(Clone, Debug, Deserialize)]
struct Rope {
    rope_theta: Option<f32>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
    factor: Option<f32>,
}

impl Rope {
    /// What scales positions, if something does; by 1 nothing does.
    fn scaling(&self) -> Option<&str> {
        let kind = self.rope_type.as_deref()?;
        let by_1 = ["linear", "dynamic", "yarn"].contains(&kind) && self.factor == Some(1.0);
        (kind != "default" && !by_1).then_some(kind)
    }
}

/// One token or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected the id of a token, or a list of ids, in bos_token_id and eos_token_id"
)]
pub(super) enum TokenIds {
    One(u32),
    Many(Vec<u32>),
}

impl TokenIds {
    pub(super) fn all(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// The tokens that a configuration names, for tokenizers that do not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpecialTokens {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
}

/// The window of a Mistral whose configuration does not mention one; null means that there is none.
const TRANSFORMERS_WINDOW: u64 = 4096;
/// Key and value heads of a configuration that does not mention them; null means as many as there
/// are query heads.
const TRANSFORMERS_KV_HEADS: u64 = 8;

const MISTRAL: &str = "MistralForCausalLM";
const MIXTRAL: &str = "MixtralForCausalLM";

impl Config {
    pub(crate) fn read(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("config.json");
        let json: serde_json::Value = read_bounded_json(&path)?
            .ok_or_else(|| OpenError::io(&path, std::io::ErrorKind::NotFound.into()))?;
        // Before all else: other architectures have other fields.
        let architecture = json["architectures"][0].as_str().unwrap_or("none");
        if ![MISTRAL, MIXTRAL].contains(&architecture) {
            let what = format!("architecture {architecture}, expected {MISTRAL} or {MIXTRAL}");
            return Err(OpenError::unsupported(&path, what));
        }
        let absent = json.get("sliding_window").is_none();
        let kv_heads_absent = json.get("num_key_value_heads").is_none();
        let mut config: Self =
            serde_json::from_value(json).map_err(|e| OpenError::json(&path, e))?;
        if absent && config.architectures[0] == MISTRAL {
            config.sliding_window = Some(TRANSFORMERS_WINDOW);
        }
        if kv_heads_absent {
            config.num_key_value_heads = Some(TRANSFORMERS_KV_HEADS);
        }
        config
            .apply_layer_types()
            .map_err(|what| OpenError::unsupported(&path, what))?;
        config
            .check()
            .map_err(|what| OpenError::unsupported(&path, what))?;
        Ok(config)
    }

    /// A configuration made from `params.json`, checked; what is wrong is said in the names of that
    /// file.
    pub(crate) fn native(json: serde_json::Value) -> Result<Self, String> {
        let config: Self = serde_json::from_value(json).map_err(|e| e.to_string())?;
        let config = Self {
            native: true,
            ..config
        };
        config.check()?;
        Ok(config)
    }

    /// What the model's own file calls the value that Hugging Face calls `name`.
    fn called(&self, name: &'static str) -> &'static str {
        let native = NATIVE_NAMES.iter().find(|(hf, _)| self.native && *hf == name);
        native.map_or(name, |(_, native)| native)
    }

    /// Whether the numbers can be those of a model.
    pub(crate) fn check_shape(&self) -> Result<(), String> {
        match self.architectures.is_empty() {
            true => Err("no architectures".to_owned()),
            false => self.check(),
        }
    }

    fn check(&self) -> Result<(), String> {
        const LARGEST: u64 = 1 << 31;
        let sizes = [
            ("hidden_size", self.hidden_size, LARGEST),
            ("intermediate_size", self.intermediate_size, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 16),
            ("num_key_value_heads", self.num_key_value_heads(), 1 << 16),
            ("head_dim", self.head_dim(), 1 << 16),
            ("vocab_size", self.vocab_size, 1 << 24),
            ("max_position_embeddings", self.max_position_embeddings, LARGEST),
            ("num_local_experts", self.experts().unwrap_or(1), 1 << 8),
            ("sliding_window", self.sliding_window.unwrap_or(1), LARGEST),
        ];
        for (name, value, largest) in sizes {
            if !(1..=largest).contains(&value) {
                return Err(format!(
                    "{} is {value}, expected 1 to {largest}",
                    self.called(name)
                ));
            }
        }
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads());
        if !heads.is_multiple_of(kv_heads) {
            return Err(format!(
                "{heads} attention heads cannot share {kv_heads} key-value heads evenly"
            ));
        }
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(heads) {
            return Err(format!(
                "no head_dim, and {heads} heads do not divide {} {}",
                self.called("hidden_size"),
                self.hidden_size
            ));
        }
        if !self.head_dim().is_multiple_of(2) {
            return Err(format!(
                "head_dim is {}, expected an even number",
                self.head_dim()
            ));
        }
        self.check_experts()?;
        self.check_kind()
    }

    /// Applies what `layer_types` says of the window, when it is the same for all layers: such a
    /// Mistral is what transformers calls a Ministral. Its Mixtral does not look at them, so that
    /// they have to say what is so anyway.
    fn apply_layer_types(&mut self) -> Result<(), String> {
        let (window, layers) = (self.sliding_window.is_some(), self.num_hidden_layers);
        if let Some(from) = self
            .max_window_layers
            .filter(|&from| window && from > 0 && from < layers)
        {
            return Err(format!(
                "max_window_layers is {from} of {layers}: a window in some layers only is not supported"
            ));
        }
        let Some(types) = &self.layer_types else {
            return Ok(());
        };
        let (full, sliding) = ("full_attention", "sliding_attention");
        let count = |kind: &str| types.iter().filter(|other| *other == kind).count();
        match (count(full), count(sliding)) {
            _ if types.len() as u64 != layers => Err(format!("layer_types has {} values for {layers} layers", types.len())),
            (some, others) if some + others < types.len() => {
                let other = types.iter().find(|kind| ![full, sliding].contains(&kind.as_str()));
                Err(format!("layer_types has {}, which is not supported", other.map_or("", String::as_str)))
            }
            (some @ 1.., others @ 1..) => Err(format!(
                "layer_types differ: {some} layers with full attention and {others} with a window, which is not supported"
            )),
            (0, _) if !window => Err("layer_types have a window, but sliding_window is null".to_owned()),
            (_, 0) if window && self.architectures[0] == MIXTRAL => {
                Err("layer_types have no window, but sliding_window does, which transformers applies to a Mixtral".to_owned())
            }
            (_, others) => {
                self.sliding_window = self.sliding_window.filter(|_| others > 0);
                Ok(())
            }
        }
    }

    fn check_experts(&self) -> Result<(), String> {
        let is_mixtral = self.architectures[0] == MIXTRAL;
        let used = self.num_experts_per_tok.unwrap_or(0);
        match self.experts() {
            None if is_mixtral => Err("no num_local_experts".to_owned()),
            Some(experts) if !(1..=experts).contains(&used) => {
                let name = self.called("num_experts_per_tok");
                Err(format!("{name} is {used} of {experts} experts"))
            }
            _ => Ok(()),
        }
    }

    fn check_kind(&self) -> Result<(), String> {
        if let Some(act) = self.hidden_act.as_deref().filter(|act| *act != "silu") {
            return Err(format!("hidden_act is {act}, expected silu"));
        }
        for rope in [&self.rope_parameters, &self.rope_scaling].into_iter().flatten() {
            if let Some(scaling) = rope.scaling() {
                return Err(format!("RoPE scaling of type {scaling} is not supported"));
            }
        }
        for (name, value) in [
            ("attention_bias", self.attention_bias),
            ("mlp_bias", self.mlp_bias),
        ] {
            if value == Some(true) {
                return Err(format!(
                    "{name} is true, which is not supported: such a model is no Mistral"
                ));
            }
        }
        if !(self.rope_theta() > 0.0 && self.rope_theta().is_finite()) {
            return Err(format!(
                "rope_theta is {}, expected a positive number",
                self.rope_theta()
            ));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return Err(format!(
                "{} is {}, expected a number between 0 and 1",
                self.called("rms_norm_eps"),
                self.rms_norm_eps
            ));
        }
        match &self.quantization_config {
            None | Some(serde_json::Value::Null) => Ok(()),
            Some(how) => fp8::check(how),
        }
    }

    pub(crate) fn num_key_value_heads(&self) -> u64 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub(crate) fn head_dim(&self) -> u64 {
        self.head_dim
            .unwrap_or_else(|| self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Experts a layer, of a Mixtral.
    pub(crate) fn experts(&self) -> Option<u64> {
        self.num_local_experts
            .filter(|_| self.architectures[0] == MIXTRAL)
    }

    /// About how many tensors the model has, each expert's counted.
    pub(crate) fn tensors(&self) -> u64 {
        3 + self.num_hidden_layers * (7 + 3 * self.experts().unwrap_or(1))
    }

    /// At the top level until transformers 5, within `rope_parameters` since.
    fn rope_theta(&self) -> f32 {
        let within = |rope: &Option<Rope>| rope.as_ref().and_then(|rope| rope.rope_theta);
        within(&self.rope_parameters)
            .or(self.rope_theta)
            .or(within(&self.rope_scaling))
            .unwrap_or(
                // transformers' defaults
                if self.architectures[0] == MIXTRAL {
                    1e6
                } else {
                    1e4
                },
            )
    }

    pub(crate) fn special_tokens(&self) -> SpecialTokens {
        let first =
            |ids: &Option<TokenIds>| ids.as_ref().and_then(|ids| ids.all().first().copied());
        SpecialTokens {
            bos: first(&self.bos_token_id),
            eos: first(&self.eos_token_id),
        }
    }

    /// The window as metadata. A file of Mistral v0.1 that does not mention its window has it
    /// nevertheless, so a model that could be taken for one says that it has none.
    fn window(&self) -> Option<u64> {
        let like_v0_1 = self.experts().is_none() && self.rope_theta() == 1e4;
        let says_none = like_v0_1 && self.max_position_embeddings == 32768;
        self.sliding_window.or(says_none.then_some(0))
    }

    /// The model's part of the metadata, keys as llama.cpp's converter writes them.
    pub(crate) fn metadata(&self, name: &str) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", "llama");
        metadata.insert("general.type", "model");
        metadata.insert("general.name", name);
        metadata.insert("general.alignment", 32u32);
        let optional = |value: Option<u64>| value.map(|value| Value::U32(value as u32));
        let entries = [
            ("context_length", optional(Some(self.max_position_embeddings))),
            ("embedding_length", optional(Some(self.hidden_size))),
            ("block_count", optional(Some(self.num_hidden_layers))),
            ("feed_forward_length", optional(Some(self.intermediate_size))),
            ("attention.head_count", optional(Some(self.num_attention_heads))),
            (
                "attention.head_count_kv",
                optional(Some(self.num_key_value_heads())),
            ),
            (
                "attention.layer_norm_rms_epsilon",
                Some(Value::F32(self.rms_norm_eps)),
            ),
            ("attention.key_length", optional(Some(self.head_dim()))),
            ("attention.value_length", optional(Some(self.head_dim()))),
            ("attention.sliding_window", optional(self.window())),
            ("rope.freq_base", Some(Value::F32(self.rope_theta()))),
            ("rope.dimension_count", optional(Some(self.head_dim()))),
            ("vocab_size", optional(Some(self.vocab_size))),
            ("expert_count", optional(self.experts())),
            (
                "expert_used_count",
                optional(self.experts().and(self.num_experts_per_tok)),
            ),
        ];
        for (key, value) in entries {
            metadata.set_default(&format!("llama.{key}"), value);
        }
        metadata
    }
}
