//! How rotary frequencies are scaled for texts longer than those of the training: the keys under
//! `rope.scaling.`, read and written.
//!
//! ```text
//! factor f  = rope.scaling.factor, else rope.scale_linear, else 1;  0 is 1
//! type      = rope.scaling.type, else linear;  none has no factor
//! length L  = rope.scaling.original_context_length
//! betas     = rope.scaling.yarn_beta_fast, else 32, rope.scaling.yarn_beta_slow, else 1;  0 is absent
//! magnitude = rope.scaling.yarn_attn_factor, else m(1) / m(rope.scaling.yarn_log_multiplier),
//!             else m(1) where that is 0 or absent;  m(x) = 1 + 0.1 x ln f
//!             times rope.scaling.attn_factor
//! ```
//!
//! So llama.cpp writes them for `mistral3`, and reads them there but for `yarn_attn_factor`, which
//! its converter writes and no Mistral of it reads. For `llama` it passes over all but factor and
//! length.

use super::LlamaError;
use super::architecture::Architecture;
use crate::gguf::{Metadata, Value};
use bise_kernels::ops::Temperature;
use std::f64::consts::PI;

/// How frequencies are scaled, and what rotated values are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeScaling {
    /// How frequencies are scaled.
    pub kind: ScalingKind,
    /// What rotated queries and keys are multiplied by.
    pub magnitude: f32,
}

/// How frequencies are scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScalingKind {
    /// Not at all.
    None,
    /// All are divided by the factor.
    Linear {
        /// From 0 exclusive on.
        factor: f32,
    },
    /// Slow ones are divided by the factor, fast ones are not: see [`Yarn`].
    Yarn(Yarn),
}

/// YaRN (Peng et al., arXiv 2309.00071): frequencies that turn more than `beta_fast` times within
/// `length` positions stay, those that turn less than `beta_slow` times are divided by `factor`,
/// and between the two there is a ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How much longer texts may be.
    pub factor: f32,
    /// Positions of the training's texts.
    pub length: u32,
    /// Turns within `length` from which on a frequency stays.
    pub beta_fast: f32,
    /// Turns within `length` up to which a frequency is divided.
    pub beta_slow: f32,
}

impl Default for RopeScaling {
    fn default() -> Self {
        Self::NONE
    }
}

impl RopeScaling {
    /// Frequencies as the base gives them.
    pub const NONE: Self = Self {
        kind: ScalingKind::None,
        magnitude: 1.0,
    };

    /// Reads the keys of a model.
    ///
    /// # Errors
    /// When a value is out of its range, is missing, or is of a way that is not known.
    pub fn read(metadata: &Metadata) -> Result<Self, LlamaError> {
        Keys::new(metadata)?.scaling()
    }

    /// Puts the keys into the metadata of a model of `architecture`.
    pub(crate) fn write(self, architecture: Architecture, metadata: &mut Metadata) {
        let mut put = |name: &str, value: Value| {
            metadata.insert(architecture.key(&format!("rope.scaling.{name}")), value);
        };
        let mut magnitude = self.magnitude;
        match self.kind {
            ScalingKind::None => {}
            ScalingKind::Linear { factor } => {
                put("type", "linear".into());
                put("factor", factor.into());
            }
            ScalingKind::Yarn(yarn) => {
                put("type", "yarn".into());
                put("factor", yarn.factor.into());
                put("original_context_length", yarn.length.into());
                put("yarn_beta_fast", yarn.beta_fast.into());
                put("yarn_beta_slow", yarn.beta_slow.into());
                // 0: as YaRN has it; 1: without.
                let usual = magnitude == yarn.usual_magnitude();
                put("yarn_log_multiplier", f32::from(!usual).into());
                if usual {
                    magnitude = 1.0;
                }
            }
        }
        if magnitude != 1.0 {
            put("attn_factor", magnitude.into());
        }
    }
}

impl Yarn {
    /// Whether this is the scaling of Devstral 2 123B, which has a magnitude. Files made of its
    /// publisher's own layout before May 2026 say that it has none.
    fn is_devstral_2(&self) -> bool {
        (self.factor, self.length, self.beta_fast) == (64.0, 4096, 4.0)
    }

    /// How far the frequency of pair `i` of `dims` rotated values is divided, from 0 to 1:
    ///
    /// ```text
    /// ramp_i = (i - low) / (high - low),  low = floor(pair(beta_fast)),  high = ceil(pair(beta_slow))
    /// ```
    pub fn ramp(&self, theta: f32, dims: usize, i: usize) -> f64 {
        let (low, high) = (
            self.pair(self.beta_fast, theta, dims),
            self.pair(self.beta_slow, theta, dims),
        );
        ramp(low.floor(), high.ceil(), dims, i)
    }

    /// As [`ramp`](Self::ramp), from and to where it begins and ends exactly.
    pub(crate) fn exact_ramp(&self, theta: f32, dims: usize, i: usize) -> f64 {
        let (low, high) = (
            self.pair(self.beta_fast, theta, dims),
            self.pair(self.beta_slow, theta, dims),
        );
        ramp(low, high, dims, i)
    }

    /// Which pair turns so often within `length` positions:
    ///
    /// ```text
    /// pair(turns) = dims ln(length / (2 pi turns)) / (2 ln theta)
    /// ```
    fn pair(&self, turns: f32, theta: f32, dims: usize) -> f64 {
        let wave = f64::from(self.length) / (2.0 * PI * f64::from(turns));
        dims as f64 * libm::log(wave) / (2.0 * libm::log(f64::from(theta)))
    }

    /// `1 + 0.1 x ln f`: what scores are multiplied by the square of, for `x` 1.
    pub fn magnitude(&self, x: f64) -> f64 {
        let factor = f64::from(self.factor);
        if factor <= 1.0 {
            1.0
        } else {
            1.0 + 0.1 * x * libm::log(factor)
        }
    }

    /// The magnitude that YaRN's authors give.
    pub fn usual_magnitude(&self) -> f32 {
        self.magnitude(1.0) as f32
    }
}

fn ramp(low: f64, high: f64, dims: usize, i: usize) -> f64 {
    let (low, high) = (low.max(0.0), high.min(dims as f64 - 1.0));
    let width = if high == low { 0.001 } else { high - low };
    ((i as f64 - low) / width).clamp(0.0, 1.0)
}

/// What the user should know of how a model's positions are scaled.
///
/// # Errors
/// As [`RopeScaling::read`].
pub(super) fn note(metadata: &Metadata) -> Result<Option<String>, LlamaError> {
    let keys = Keys::new(metadata)?;
    let name = "rope.scaling.yarn_log_multiplier";
    let stated = keys.signed(name)?.filter(|&log| log != 0.0);
    Ok(match (RopeScaling::read(metadata)?.kind, stated) {
        (ScalingKind::Yarn(yarn), Some(log)) if yarn.is_devstral_2() => Some(format!(
            "metadata key '{}' is {log}, as early converters wrote it for Devstral 2: 0 counts, as its publisher has it",
            keys.architecture.key(name)
        )),
        _ => None,
    })
}

/// How queries grow with their position, if they do: `attention.temperature_scale`, in steps of
/// `rope.scaling.original_context_length`, else of `context_length`.
///
/// # Errors
/// When a value is out of its range, or there is no length.
pub fn temperature(metadata: &Metadata) -> Result<Option<Temperature>, LlamaError> {
    let keys = Keys::new(metadata)?;
    let Some(beta) = keys
        .number("attention.temperature_scale")?
        .filter(|&beta| beta > 0.0)
    else {
        return Ok(None);
    };
    let stated = |name| metadata.u32(&keys.architecture.key(name));
    let length = match stated("rope.scaling.original_context_length")? {
        Some(length) => Some(length),
        None => stated("context_length")?,
    };
    match length.filter(|&length| length > 0) {
        Some(length) => Ok(Some(Temperature {
            beta,
            length: length as usize,
        })),
        None => Err(keys.bad(
            "rope.scaling.original_context_length",
            "absent or 0",
            "the positions after which attention.temperature_scale begins",
        )),
    }
}

/// Puts a temperature into the metadata of a model of `architecture`.
pub(crate) fn write_temperature(
    temperature: Temperature,
    architecture: Architecture,
    metadata: &mut Metadata,
) {
    let length = temperature.length as u32;
    metadata.insert(architecture.key("attention.temperature_scale"), temperature.beta);
    metadata.insert(architecture.key("rope.scaling.original_context_length"), length);
}

/// The keys of a model.
struct Keys<'a> {
    architecture: Architecture,
    metadata: &'a Metadata,
}

impl<'a> Keys<'a> {
    fn new(metadata: &'a Metadata) -> Result<Self, LlamaError> {
        let architecture = Architecture::of(metadata)?;
        Ok(Self {
            architecture,
            metadata,
        })
    }

    fn scaling(&self) -> Result<RopeScaling, LlamaError> {
        let name = "rope.scaling.type";
        let kind = self.metadata.str(&self.architecture.key(name))?;
        let factor = match self.number("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.number("rope.scale_linear")?,
        };
        let factor = factor.unwrap_or(1.0);
        let scaled = factor != 1.0 && factor != 0.0;
        let more = self
            .number("rope.scaling.attn_factor")?
            .filter(|&more| more > 0.0);
        let (kind, magnitude) = match kind.unwrap_or("linear") {
            "none" => (ScalingKind::None, 1.0),
            "linear" | "yarn" if !scaled => (ScalingKind::None, 1.0),
            "linear" => (ScalingKind::Linear { factor }, 1.0),
            "yarn" => {
                let yarn = self.yarn(factor)?;
                (ScalingKind::Yarn(yarn), self.magnitude(yarn)?)
            }
            other => return Err(self.bad(name, other, "none, linear or yarn")),
        };
        Ok(RopeScaling {
            kind,
            magnitude: magnitude * more.unwrap_or(1.0),
        })
    }

    fn yarn(&self, factor: f32) -> Result<Yarn, LlamaError> {
        let name = "rope.scaling.original_context_length";
        let key = self.architecture.key(name);
        let length = self.metadata.u32(&key)?.filter(|&length| length > 0);
        let length = length.ok_or_else(|| {
            let expected = "the positions of the training, which YaRN scales from";
            self.bad(name, "absent or 0", expected)
        })?;
        let name = "rope.scaling.yarn_ext_factor";
        if let Some(other) = self.signed(name)?.filter(|factor| ![1.0, -1.0].contains(factor)) {
            return Err(self.bad(name, other, "1 or no such key"));
        }
        let beta = |name| Ok::<_, LlamaError>(self.number(name)?.filter(|&beta| beta > 0.0));
        Ok(Yarn {
            factor,
            length,
            beta_fast: beta("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
            beta_slow: beta("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
        })
    }

    fn magnitude(&self, yarn: Yarn) -> Result<f32, LlamaError> {
        let stated = self.signed("rope.scaling.yarn_attn_factor")?;
        if let Some(stated) = stated.filter(|&stated| stated > 0.0) {
            return Ok(stated);
        }
        let log = self.signed("rope.scaling.yarn_log_multiplier")?.unwrap_or(0.0);
        let log = if yarn.is_devstral_2() { 0.0 } else { log };
        let usual = yarn.magnitude(1.0);
        match log {
            0.0 => Ok(usual as f32),
            log => Ok((usual / yarn.magnitude(f64::from(log))) as f32),
        }
    }

    /// A number from 0 on, bounded so that what is made of it stays finite.
    fn number(&self, name: &str) -> Result<Option<f32>, LlamaError> {
        const MOST: f32 = 1e9;
        let found = self.signed(name)?;
        match found.filter(|found| !(0.0..=MOST).contains(found)) {
            Some(bad) => Err(self.bad(name, bad, "a number from 0 to 1e9")),
            None => Ok(found),
        }
    }

    fn signed(&self, name: &str) -> Result<Option<f32>, LlamaError> {
        let found = self.metadata.f32(&self.architecture.key(name))?;
        match found.filter(|found| !(-1e9..=1e9).contains(found)) {
            Some(bad) => Err(self.bad(name, bad, "a finite number")),
            None => Ok(found),
        }
    }

    fn bad(&self, name: &str, found: impl ToString, expected: &str) -> LlamaError {
        LlamaError::Key {
            key: self.architecture.key(name),
            found: found.to_string(),
            expected: expected.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(entries: &[(&str, Value)]) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", "mistral3");
        for (name, value) in entries {
            metadata.insert(format!("mistral3.rope.scaling.{name}"), value.clone());
        }
        metadata
    }

    fn yarn(factor: f32, length: u32, beta_fast: f32) -> Yarn {
        Yarn {
            factor,
            length,
            beta_fast,
            beta_slow: 1.0,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let usual = yarn(16.0, 16384, 32.0).usual_magnitude();
        let kinds = [
            ScalingKind::None,
            ScalingKind::Linear { factor: 4.0 },
            ScalingKind::Yarn(yarn(16.0, 16384, 32.0)),
        ];
        for kind in kinds {
            for magnitude in [1.0, usual, 1.25, 0.5] {
                let scaling = RopeScaling { kind, magnitude };
                let mut metadata = with(&[]);
                scaling.write(Architecture::Mistral3, &mut metadata);
                assert_eq!(RopeScaling::read(&metadata).unwrap(), scaling);
            }
        }
    }

    #[test]
    fn magnitudes_as_llama_cpp_has_them() {
        let magnitude = |entries: &[(&str, Value)]| {
            let all = [
                &[
                    ("type", Value::from("yarn")),
                    ("factor", 16f32.into()),
                    ("original_context_length", 16u32.into()),
                ],
                entries,
            ]
            .concat();
            RopeScaling::read(&with(&all)).unwrap().magnitude
        };
        let usual = (1.0 + 0.1 * 16f64.ln()) as f32;
        assert_eq!(magnitude(&[]), usual);
        assert_eq!(magnitude(&[("yarn_log_multiplier", 0f32.into())]), usual);
        assert_eq!(magnitude(&[("yarn_log_multiplier", 1f32.into())]), 1.0);
        assert_eq!(magnitude(&[("attn_factor", 2f32.into())]), 2.0 * usual);
        assert_eq!(magnitude(&[("yarn_attn_factor", 1.5f32.into())]), 1.5);
        assert_eq!(magnitude(&[("yarn_attn_factor", (-1f32).into())]), usual);
    }

    #[test]
    fn devstral_2_has_its_magnitude_whatever_an_early_file_says() {
        let metadata = with(&[
            ("type", "yarn".into()),
            ("factor", 64f32.into()),
            ("original_context_length", 4096u32.into()),
            ("yarn_beta_fast", 4f32.into()),
            ("yarn_log_multiplier", 1f32.into()),
        ]);
        let scaling = RopeScaling::read(&metadata).unwrap();
        assert_eq!(scaling.magnitude, yarn(64.0, 4096, 4.0).usual_magnitude());
        assert!(note(&metadata).unwrap().unwrap().contains("yarn_log_multiplier"));
    }
}
