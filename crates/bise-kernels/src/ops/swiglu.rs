//! Elementwise operations of the feed-forward layer.

use super::exp;
use crate::isa::{Isa, Kernel, Level};

/// `out[i] = silu(gate[i]) * up[i]`, where `silu(x) = x / (1 + e^-x)` (Shazeer, arXiv 2002.05202).
///
/// # Panics
/// When the lengths differ.
pub fn swiglu(level: Level, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == out.len() && up.len() == out.len());
    level.run(SwiGlu { gate, up, out });
}

/// `out[i] = fma(scale, x[i], out[i])`.
///
/// # Panics
/// When the lengths differ.
pub fn add_scaled(level: Level, scale: f32, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    level.run(AddScaled { scale, x, out });
}

struct SwiGlu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for SwiGlu<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }
}

struct AddScaled<'a> {
    scale: f32,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = x.mul_add(self.scale, *out);
        }
    }
}
