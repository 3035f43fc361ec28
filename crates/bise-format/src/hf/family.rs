//! The kinds of models that Hugging Face tells apart, and what their configurations leave out.

use super::rope::RopeFields;
use crate::llama::LATENT;

/// A kind of model, by the class that transformers makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Family {
    /// One window, or by `layer_types`.
    #[default]
    Mistral,
    /// A mixture of experts.
    Mixtral,
    /// Windows by `layer_types`.
    Ministral,
    /// Scaled positions, and queries that grow with them.
    Ministral3,
}

/// Where a model's text part is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wrapping {
    /// It is the whole model.
    #[default]
    None,
    /// Beside a part that sees images.
    Vision,
}

/// What a configuration's first architecture names.
pub(super) const ARCHITECTURES: [(&str, Family, Wrapping); 5] = [
    ("MistralForCausalLM", Family::Mistral, Wrapping::None),
    ("MixtralForCausalLM", Family::Mixtral, Wrapping::None),
    ("MinistralForCausalLM", Family::Ministral, Wrapping::None),
    ("Ministral3ForCausalLM", Family::Ministral3, Wrapping::None),
    (
        "Mistral3ForConditionalGeneration",
        Family::Mistral,
        Wrapping::Vision,
    ),
];

/// The kind of a text part, by its `model_type`.
pub(super) fn of_text(model_type: &str) -> Result<Family, String> {
    match model_type {
        "mistral" => Ok(Family::Mistral),
        "ministral3" => Ok(Family::Ministral3),
        other => Err(format!(
            "text_config.model_type is {other:?}, expected \"mistral\" or \"ministral3\"{}",
            latent_attention(other)
        )),
    }
}

/// What to say besides of a model whose attention is latent.
pub(super) fn latent_attention(name: &str) -> &'static str {
    let name = name.to_lowercase();
    let latent = ["deepseek", "mistrallarge3", "mistral_large_3", "mistral4"];
    match latent.iter().any(|latent| name.contains(latent)) {
        true => LATENT,
        false => "",
    }
}

impl Family {
    /// The window of a configuration that does not mention one; null means that there is none.
    pub(super) fn absent_window(self) -> Option<u64> {
        match self {
            Self::Mistral | Self::Ministral => Some(4096),
            Self::Mixtral | Self::Ministral3 => None,
        }
    }

    /// RMSNorm's constant of a configuration that does not mention it.
    pub(super) fn absent_norm_eps(self) -> f32 {
        match self {
            Self::Ministral3 => 1e-5,
            _ => 1e-6,
        }
    }

    /// Values of a head of a configuration that does not mention them, but for null.
    pub(super) fn absent_head_dim(self) -> Option<u64> {
        (self == Self::Ministral3).then_some(128)
    }

    /// The base of the frequencies of a configuration that does not mention it.
    pub(super) fn absent_theta(self) -> f32 {
        if self == Self::Mixtral { 1e6 } else { 1e4 }
    }

    /// The scaling of positions of a configuration without any, which then counts for all of it.
    pub(super) fn absent_rope(self) -> Option<RopeFields> {
        (self == Self::Ministral3).then(RopeFields::of_ministral_3)
    }

    /// Whether `layer_types` say which layers have the window; those of a Mixtral have to agree with
    /// what is so anyway.
    pub(super) fn looks_at_layer_types(self, wrapping: Wrapping) -> bool {
        wrapping == Wrapping::None && self != Self::Ministral3
    }
}
