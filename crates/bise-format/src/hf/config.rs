//! `config.json`: what of it matters, checked, and as GGUF metadata.

use super::family::{ARCHITECTURES, Family, Wrapping, latent_attention, of_text};
use super::rope::{Model, Positions, RopeFields};
use crate::error::OpenError;
use crate::fp8;
use crate::gguf::{Array, Metadata, Value};
use crate::llama::{Architecture, LATENT, ScalingKind, write_temperature};
use crate::small_file::read_bounded_json;
use serde::Deserialize;
use serde_json::Value as Json;
use std::path::Path;

/// The configuration of a Mistral or a Mixtral: of its text part, when there is another.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
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
    tie_word_embeddings: Option<bool>,
    sliding_window: Option<u64>,
    rope_theta: Option<f32>,
    rope_parameters: Option<RopeFields>,
    rope_scaling: Option<RopeFields>,
    num_local_experts: Option<u64>,
    num_experts_per_tok: Option<u64>,
    pub quantization_config: Option<Json>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    layer_types: Option<Vec<String>>,
    max_window_layers: Option<u64>,
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
    #[serde(skip)]
    family: Family,
    #[serde(skip)]
    wrapping: Wrapping,
    /// The window of each layer.
    #[serde(skip)]
    windows: Vec<Option<u64>>,
    /// How positions are told apart.
    #[serde(skip)]
    pub positions: Positions,
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

impl Config {
    pub(crate) fn read(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("config.json");
        let json: Json = read_bounded_json(&path)?
            .ok_or_else(|| OpenError::io(&path, std::io::ErrorKind::NotFound.into()))?;
        // Before all else: other architectures have other fields.
        let (family, wrapping) = kind(&json).map_err(|what| OpenError::unsupported(&path, what))?;
        let mut json = match wrapping {
            Wrapping::None => json,
            Wrapping::Vision => text_part(json),
        };
        set_absent(&mut json, family);
        let config: Self = serde_json::from_value(json).map_err(|e| OpenError::json(&path, e))?;
        let config = config.of_kind((family, wrapping), false);
        config
            .and_then(Self::with_layer_types)
            .map_err(|what| OpenError::unsupported(&path, what))
    }

    /// A configuration made from `params.json`, checked, with the windows of its layers; what is
    /// wrong is said in the names of that file.
    pub(crate) fn native(
        json: Json,
        kind: (Family, Wrapping),
        windows: &[Option<u64>],
    ) -> Result<Self, String> {
        let config: Self = serde_json::from_value(json).map_err(|e| e.to_string())?;
        let mut config = config.of_kind(kind, true)?;
        let layers = config.num_hidden_layers;
        if windows.is_empty() || !layers.is_multiple_of(windows.len() as u64) {
            return Err(format!(
                "sliding_window has {} values, which do not repeat evenly over {layers} layers",
                windows.len()
            ));
        }
        config.windows = windows.iter().copied().cycle().take(layers as usize).collect();
        Ok(config)
    }

    /// The configuration that describes a model without files.
    pub(crate) fn outline(mut json: Json) -> Result<Self, String> {
        let kind = kind(&json)?;
        if json["tie_word_embeddings"].is_null() {
            json["tie_word_embeddings"] = false.into();
        }
        let config: Self = serde_json::from_value(json).map_err(|e| e.to_string())?;
        config.of_kind(kind, false)?.with_layer_types()
    }

    /// The configuration of a model of that kind, checked, with what follows for its positions.
    fn of_kind(self, kind: (Family, Wrapping), native: bool) -> Result<Self, String> {
        let (family, wrapping) = kind;
        let mut config = Self {
            family,
            wrapping,
            native,
            ..self
        };
        config.check()?;
        config.positions = config.rope().positions(&Model {
            context: config.max_position_embeddings,
            theta: config.rope_theta(),
            head_dim: config.head_dim(),
            needs_temperature: family == Family::Ministral3 && !native,
        })?;
        Ok(config)
    }

    /// What the model's own file calls the value that Hugging Face calls `name`.
    fn called(&self, name: &'static str) -> &'static str {
        let native = NATIVE_NAMES.iter().find(|(hf, _)| self.native && *hf == name);
        native.map_or(name, |(_, native)| native)
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

    /// Gives each layer its window. transformers applies `layer_types` to a Mistral, which it then
    /// calls a Ministral, but to no text part of a larger model. Its Mixtral does not look at them,
    /// so that they have to say what is so anyway.
    fn with_layer_types(mut self) -> Result<Self, String> {
        let (window, layers) = (self.sliding_window, self.num_hidden_layers);
        let in_some = self.max_window_layers.filter(|&from| from > 0 && from < layers);
        if let (Some(from), Some(_)) = (in_some, window) {
            return Err(format!(
                "max_window_layers is {from} of {layers}: a window in some layers only is said by layer_types"
            ));
        }
        self.windows = vec![window; layers as usize];
        let Some(types) = &self.layer_types else {
            return Ok(self);
        };
        let (full, sliding) = ("full_attention", "sliding_attention");
        if types.len() as u64 != layers {
            return Err(format!(
                "layer_types has {} values for {layers} layers",
                types.len()
            ));
        }
        if let Some(other) = types
            .iter()
            .find(|kind| ![full, sliding].contains(&kind.as_str()))
        {
            return Err(format!(
                "layer_types has {other}, which is not supported; expected {full} or {sliding}"
            ));
        }
        let has: Vec<bool> = types.iter().map(|kind| kind == sliding).collect();
        match self.family {
            Family::Mixtral if window.is_some() && has.contains(&false) => Err(
                "layer_types have no window in some layers, but sliding_window does, which transformers applies to all of a Mixtral"
                    .to_owned(),
            ),
            family if !family.looks_at_layer_types(self.wrapping) => Ok(self),
            _ if window.is_none() && has.contains(&true) => {
                Err("layer_types have a window, but sliding_window is null".to_owned())
            }
            _ => {
                let of_layer = |has: bool| window.filter(|_| has);
                self.windows = has.into_iter().map(of_layer).collect();
                Ok(self)
            }
        }
    }

    fn check_experts(&self) -> Result<(), String> {
        let is_mixtral = self.family == Family::Mixtral;
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
        self.quantization_config.as_ref().map_or(Ok(()), fp8::check)
    }

    pub(crate) fn num_key_value_heads(&self) -> u64 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub(crate) fn head_dim(&self) -> u64 {
        let even = self.hidden_size / self.num_attention_heads.max(1);
        self.head_dim.unwrap_or(even)
    }

    /// Whether there is a part that sees images, which is not read.
    pub(crate) fn has_vision(&self) -> bool {
        self.wrapping == Wrapping::Vision
    }

    /// Whether the output matrix is the embeddings; `None` when a matrix of its own in the files
    /// decides.
    pub(crate) fn is_tied(&self) -> Option<bool> {
        self.tie_word_embeddings
    }

    /// Experts a layer, of a Mixtral.
    pub(crate) fn experts(&self) -> Option<u64> {
        self.num_local_experts.filter(|_| self.family == Family::Mixtral)
    }

    /// About how many tensors the model has, each expert's counted.
    pub(crate) fn tensors(&self) -> u64 {
        3 + self.num_hidden_layers * (7 + 3 * self.experts().unwrap_or(1))
    }

    /// `rope_parameters` since transformers 5, `rope_scaling` before, which counts where both are.
    fn rope(&self) -> RopeFields {
        let older = self.rope_scaling.clone().filter(|fields| !fields.is_empty());
        let stated = older.or(self.rope_parameters.clone());
        stated.or(self.family.absent_rope()).unwrap_or_default()
    }

    /// At the top level until transformers 5, within `rope_parameters` since.
    fn rope_theta(&self) -> f32 {
        let stated = self.rope().rope_theta.or(self.rope_theta);
        stated.unwrap_or(self.family.absent_theta())
    }

    pub(crate) fn special_tokens(&self) -> SpecialTokens {
        let first =
            |ids: &Option<TokenIds>| ids.as_ref().and_then(|ids| ids.all().first().copied());
        SpecialTokens {
            bos: first(&self.bos_token_id),
            eos: first(&self.eos_token_id),
        }
    }

    /// Puts the windows into the metadata: one, with the layers that have it where not all do, or
    /// one for each layer where they differ.
    fn write_windows(&self, architecture: Architecture, metadata: &mut Metadata) {
        let some: Vec<u64> = self.windows.iter().copied().flatten().collect();
        let key = architecture.key("attention.sliding_window");
        let Some(&first) = some.first() else {
            if self.could_have_had_windows() {
                metadata.insert(key, 0u32);
            }
            return;
        };
        if some.iter().any(|&window| window != first) {
            let of_layer = |window: &Option<u64>| window.unwrap_or(0) as u32;
            let windows: Vec<u32> = self.windows.iter().map(of_layer).collect();
            metadata.insert(key, windows);
            return;
        }
        metadata.insert(key, first as u32);
        if some.len() < self.windows.len() {
            let has = self.windows.iter().map(Option::is_some).collect();
            let key = architecture.key("attention.sliding_window_pattern");
            metadata.insert(key, Value::Array(Array::Bool(has)));
        }
    }

    /// Whether a file that does not mention windows could be taken for Mistral v0.1's or Ministral
    /// 8B's, which have them nevertheless.
    fn could_have_had_windows(&self) -> bool {
        let dense = self.experts().is_none();
        let like_v0_1 = self.rope_theta() == 1e4 && self.max_position_embeddings == 32768;
        let like_ministral = self.rope_theta() == 1e8 && self.num_hidden_layers == 36;
        dense && (like_v0_1 || like_ministral)
    }

    /// GGUF's architecture: llama.cpp applies a Mistral's positions to `mistral3` alone.
    fn architecture(&self) -> Architecture {
        let Positions {
            scaling,
            temperature,
            ..
        } = &self.positions;
        let even = matches!(scaling.kind, ScalingKind::None | ScalingKind::Linear { .. });
        match even && scaling.magnitude == 1.0 && temperature.is_none() {
            true => Architecture::Llama,
            false => Architecture::Mistral3,
        }
    }

    /// The model's part of the metadata, keys as llama.cpp's converter writes them.
    pub(crate) fn metadata(&self, name: &str) -> Metadata {
        let architecture = self.architecture();
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", architecture.name());
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
        ];
        let more = [
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
            metadata.set_default(&architecture.key(key), value);
        }
        self.write_windows(architecture, &mut metadata);
        for (key, value) in more {
            metadata.set_default(&architecture.key(key), value);
        }
        self.positions.scaling.write(architecture, &mut metadata);
        if let Some(temperature) = self.positions.temperature {
            write_temperature(temperature, architecture, &mut metadata);
        }
        metadata
    }
}

/// What `json`, a configuration, is of.
fn kind(json: &Json) -> Result<(Family, Wrapping), String> {
    let name = json["architectures"][0].as_str().unwrap_or("none");
    let latent = ["kv_lora_rank", "q_lora_rank"];
    let latent = latent
        .iter()
        .any(|key| !json[*key].is_null() || !json["text_config"][*key].is_null());
    let known = ARCHITECTURES.iter().find(|(known, ..)| *known == name);
    let Some(&(_, family, wrapping)) = known.filter(|_| !latent) else {
        let names: Vec<&str> = ARCHITECTURES.iter().map(|(name, ..)| *name).collect();
        let more = if latent { LATENT } else { latent_attention(name) };
        return Err(format!(
            "architecture {name}, expected {} or {}{more}",
            names[..names.len() - 1].join(", "),
            names[names.len() - 1],
        ));
    };
    match wrapping {
        Wrapping::None => Ok((family, wrapping)),
        Wrapping::Vision => {
            let text = &json["text_config"];
            if !text.is_object() {
                return Err(format!(
                    "text_config is {text}, expected the configuration of the text part"
                ));
            }
            let model_type = text["model_type"].as_str().unwrap_or("mistral");
            Ok((of_text(model_type)?, wrapping))
        }
    }
}

/// The configuration of the text part, with what stands outside of it: how weights are quantized,
/// the tokens that begin and end, and whether both say that matrices are tied.
fn text_part(mut json: Json) -> Json {
    let mut text = json["text_config"].take();
    let Some(fields) = text.as_object_mut() else {
        return text;
    };
    for key in ["quantization_config", "bos_token_id", "eos_token_id"] {
        let outer = json[key].take();
        if !outer.is_null() && fields.get(key).is_none_or(Json::is_null) {
            fields.insert(key.to_owned(), outer);
        }
    }
    let tied = "tie_word_embeddings";
    if fields.get(tied).is_none() || fields.get(tied) != json.get(tied) {
        fields.insert(tied.to_owned(), Json::Null);
    }
    text
}

/// Sets what a configuration of `family` leaves out, as transformers does; what is null stays so.
fn set_absent(json: &mut Json, family: Family) {
    let Some(fields) = json.as_object_mut() else {
        return;
    };
    let mut absent = |key: &str, value: Json| {
        fields.entry(key).or_insert(value);
    };
    absent("sliding_window", family.absent_window().into());
    absent("num_key_value_heads", KV_HEADS.into());
    absent("rms_norm_eps", family.absent_norm_eps().into());
    absent("head_dim", family.absent_head_dim().into());
    absent("tie_word_embeddings", false.into());
}

/// Key and value heads of a configuration that does not mention them; null means as many as there
/// are query heads.
const KV_HEADS: u64 = 8;
