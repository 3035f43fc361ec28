//! `rope_parameters`, or `rope_scaling` as it was called before: how positions are told apart.

use crate::llama::{RopeScaling, ScalingKind, Yarn};
use bise_kernels::ops::Temperature;
use serde::Deserialize;

/// The fields, all of which may be absent or null.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct RopeFields {
    pub rope_theta: Option<f32>,
    rope_type: Option<String>,
    /// An older name of `rope_type`.
    #[serde(rename = "type")]
    kind: Option<String>,
    factor: Option<f32>,
    original_max_position_embeddings: Option<u64>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
    llama_4_scaling_beta: Option<f32>,
    partial_rotary_factor: Option<f32>,
}

/// How positions are told apart, checked; by the base alone unless something is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Positions {
    pub scaling: RopeScaling,
    pub temperature: Option<Temperature>,
    /// What frequencies are divided by before, where GGUF has no keys for how they are scaled.
    pub factors: Option<Vec<f32>>,
}

/// What scaling is for.
pub(super) struct Model {
    pub context: u64,
    pub theta: f32,
    pub head_dim: u64,
    /// Whether it cannot be without a temperature.
    pub needs_temperature: bool,
}

impl RopeFields {
    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What transformers' configuration of a Ministral 3 has when it says nothing.
    pub(super) fn of_ministral_3() -> Self {
        Self {
            rope_theta: Some(1e6),
            rope_type: Some("yarn".to_owned()),
            factor: Some(16.0),
            original_max_position_embeddings: Some(16384),
            beta_fast: Some(32.0),
            beta_slow: Some(1.0),
            mscale: Some(1.0),
            mscale_all_dim: Some(1.0),
            llama_4_scaling_beta: Some(0.1),
            ..Self::default()
        }
    }

    /// How `model` tells positions apart.
    pub(super) fn positions(&self, model: &Model) -> Result<Positions, String> {
        if let Some(part) = self.partial_rotary_factor.filter(|&part| part != 1.0) {
            return Err(format!(
                "partial_rotary_factor is {part}, expected 1: Mistrals rotate all of a head"
            ));
        }
        let temperature = self.temperature(model)?;
        let plain = Positions {
            scaling: RopeScaling::NONE,
            temperature,
            factors: None,
        };
        let kind = self.rope_type.as_deref().or(self.kind.as_deref());
        let kind = kind.unwrap_or("default");
        // By 1 nothing is scaled.
        let by_1 = self.factor == Some(1.0) && self.attention_factor.is_none_or(|a| a == 1.0);
        match kind {
            "default" => Ok(plain),
            "linear" | "dynamic" | "yarn" if by_1 => Ok(plain),
            "linear" => {
                let factor = self.required("factor", self.factor)?;
                let kind = ScalingKind::Linear { factor };
                let scaling = RopeScaling {
                    kind,
                    magnitude: 1.0,
                };
                Ok(Positions { scaling, ..plain })
            }
            "yarn" => self.yarn(model, plain),
            other => Err(format!(
                "rope_type is {other:?}, which is not supported; expected default, linear or yarn"
            )),
        }
    }

    fn yarn(&self, model: &Model, plain: Positions) -> Result<Positions, String> {
        if model.theta <= 1.0 {
            return Err(format!(
                "rope_theta is {}, expected more than 1 for yarn",
                model.theta
            ));
        }
        let length = self.length("yarn")?;
        let stated = self.factor.unwrap_or(model.context as f32 / length as f32);
        let beta = |beta: Option<f32>| beta.filter(|&beta| beta != 0.0);
        let yarn = Yarn {
            factor: self.required("factor", Some(stated))?,
            length,
            beta_fast: positive("beta_fast", beta(self.beta_fast).unwrap_or(32.0))?,
            beta_slow: positive("beta_slow", beta(self.beta_slow).unwrap_or(1.0))?,
        };
        let magnitude = self.magnitude(&yarn)?;
        if self.truncate.unwrap_or(true) {
            let kind = ScalingKind::Yarn(yarn);
            let scaling = RopeScaling { kind, magnitude };
            return Ok(Positions { scaling, ..plain });
        }
        // b / (b (1 - ramp) + b / f ramp)
        let (factor, dims) = (f64::from(yarn.factor), model.head_dim as usize);
        let divisor = |i| {
            let ramp = yarn.exact_ramp(model.theta, dims, i);
            (1.0 / (1.0 - ramp + ramp / factor)) as f32
        };
        Ok(Positions {
            scaling: RopeScaling {
                magnitude,
                ..RopeScaling::NONE
            },
            factors: Some((0..dims / 2).map(divisor).collect()),
            ..plain
        })
    }

    /// What rotated values are multiplied by:
    ///
    /// ```text
    /// attention_factor, else m(mscale) / m(mscale_all_dim) when both are there, else m(1)
    /// ```
    fn magnitude(&self, yarn: &Yarn) -> Result<f32, String> {
        let stated = |value: Option<f64>| value.filter(|&value| value != 0.0);
        let magnitude = match (
            self.attention_factor,
            stated(self.mscale),
            stated(self.mscale_all_dim),
        ) {
            (Some(factor), ..) => factor as f32,
            (None, Some(one), Some(other)) => (yarn.magnitude(one) / yarn.magnitude(other)) as f32,
            _ => yarn.usual_magnitude(),
        };
        positive(
            "attention_factor, or what mscale and mscale_all_dim make of it,",
            magnitude,
        )
    }

    fn temperature(&self, model: &Model) -> Result<Option<Temperature>, String> {
        let Some(beta) = self.llama_4_scaling_beta else {
            return match model.needs_temperature {
                true => Err(
                    "no llama_4_scaling_beta in rope_parameters, expected a number: 0 for none"
                        .to_owned(),
                ),
                false => Ok(None),
            };
        };
        let length = self.length("llama_4_scaling_beta");
        if beta == 0.0 {
            return if model.needs_temperature {
                length.map(|_| None)
            } else {
                Ok(None)
            };
        }
        if !(0.0..=1e6).contains(&beta) {
            return Err(format!("llama_4_scaling_beta is {beta}, expected 0 to 1e6"));
        }
        Ok(Some(Temperature {
            beta,
            length: length? as usize,
        }))
    }

    /// The positions of the training, which `what` needs.
    fn length(&self, what: &str) -> Result<u32, String> {
        let name = "original_max_position_embeddings";
        match self.original_max_position_embeddings {
            None => Err(format!(
                "{what} without {name}: expected the positions of the training"
            )),
            Some(length @ 1..=0x7fff_ffff) => Ok(length as u32),
            Some(other) => Err(format!("{name} is {other}, expected 1 to {}", i32::MAX)),
        }
    }

    fn required(&self, name: &str, value: Option<f32>) -> Result<f32, String> {
        match value {
            Some(value) => positive(name, value),
            None => Err(format!(
                "RoPE is scaled without {name}: expected a positive number"
            )),
        }
    }
}

/// A number that GGUF's keys can hold, too.
fn positive(name: &str, value: f32) -> Result<f32, String> {
    match value {
        1e-6..=1e6 => Ok(value),
        other => Err(format!("{name} is {other}, expected a number from 1e-6 to 1e6")),
    }
}
