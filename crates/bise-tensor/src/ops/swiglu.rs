//! Elementwise operations of the feed-forward layer.

use super::exp;
use crate::isa::{Isa, Kernel, Level};
use crate::threads::for_each_piece;

/// Values that one thread works on at a time: enough to be worth handing over.
const PIECE: usize = 1 << 14;

/// `gate[i] = silu(gate[i]) * up[i]`, where `silu(x) = x / (1 + e^-x)` (Shazeer, arXiv 2002.05202).
///
/// # Panics
/// When the lengths differ.
pub fn swiglu(level: Level, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len());
    for_each_piece(gate, PIECE, |i, gate| {
        let up = &up[i * PIECE..][..gate.len()];
        level.run(SwiGlu { gate, up });
    });
}

/// `out[i] = fma(scale, x[i], out[i])`.
///
/// # Panics
/// When the lengths differ.
pub fn add_scaled(level: Level, scale: f32, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    for_each_piece(out, PIECE, |i, out| {
        let x = &x[i * PIECE..][..out.len()];
        level.run(AddScaled { scale, x, out });
    });
}

struct SwiGlu<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SwiGlu<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        for (gate, up) in self.gate.iter_mut().zip(self.up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
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
