//! Rotary frequencies of a model, and how they are scaled for texts longer than its training's.

use bise_format::llama::{RopeScaling, ScalingKind};
use bise_kernels::ops::{RopeTable, Temperature};
use std::sync::Arc;

/// Rotary position embedding: how positions are told apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Values of a head that are rotated, two by two.
    pub dims: usize,
    /// Base of the frequencies.
    pub theta: f32,
    /// What each pair's frequency is divided by, `[dims / 2]`, before it is scaled.
    pub factors: Option<Arc<[f32]>>,
    /// How frequencies are scaled.
    pub scaling: RopeScaling,
    /// How queries grow with their position.
    pub temperature: Option<Temperature>,
}

impl Rope {
    /// The frequency of each pair, `[dims / 2]`, in radians a position:
    ///
    /// ```text
    /// b_i = theta^(-2i / dims) / factor_i
    /// linear: b_i / f       YaRN: b_i (1 - ramp_i) + b_i / f ramp_i
    /// ```
    pub fn frequencies(&self) -> Vec<f32> {
        let frequency = |i: usize| {
            let base = libm::pow(f64::from(self.theta), -2.0 * i as f64 / self.dims as f64);
            let base = match &self.factors {
                Some(factors) => base / f64::from(factors[i]),
                None => base,
            };
            match self.scaling.kind {
                ScalingKind::Linear { factor } => base / f64::from(factor),
                ScalingKind::Yarn(yarn) => {
                    let ramp = yarn.ramp(self.theta, self.dims, i);
                    base * (1.0 - ramp) + base / f64::from(yarn.factor) * ramp
                }
                _ => base,
            }
        };
        (0..self.dims / 2).map(|i| frequency(i) as f32).collect()
    }

    /// The rotations of positions, with room for `positions` of them.
    pub(crate) fn table(&self, positions: usize) -> RopeTable {
        let magnitude = self.scaling.magnitude;
        RopeTable::new(self.frequencies(), magnitude, self.temperature, positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bise_format::llama::Yarn;

    fn yarn(theta: f32, yarn: Yarn) -> Rope {
        Rope {
            dims: 128,
            theta,
            factors: None,
            scaling: RopeScaling {
                kind: ScalingKind::Yarn(yarn),
                magnitude: 1.0,
            },
            temperature: None,
        }
    }

    #[test]
    fn ramps_of_published_models_begin_and_end_where_transformers_has_them() {
        for (theta, factor, length, beta_fast, low, high) in [
            (1e6, 16.0, 16384, 32.0, 20, 37),
            (1e9, 16.0, 16384, 32.0, 13, 25),
            (1e8, 48.0, 8192, 32.0, 12, 25),
            (1e6, 64.0, 4096, 4.0, 23, 31),
        ] {
            let scaling = Yarn {
                factor,
                length,
                beta_fast,
                beta_slow: 1.0,
            };
            let rope = yarn(theta, scaling);
            let ramp = |i| scaling.ramp(theta, 128, i);
            assert_eq!((ramp(low), ramp(high)), (0.0, 1.0), "{theta} {factor}");
            assert!(ramp(low + 1) > 0.0 && ramp(high - 1) < 1.0, "{theta} {factor}");
            let plain = Rope {
                scaling: RopeScaling::NONE,
                ..rope.clone()
            };
            let (scaled, plain) = (rope.frequencies(), plain.frequencies());
            assert_eq!(scaled[..=low], plain[..=low]);
            for i in high..64 {
                assert!((scaled[i] * factor / plain[i] - 1.0).abs() < 1e-6);
            }
        }
    }
}
