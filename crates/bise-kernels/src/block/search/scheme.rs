//! What can be stored, and the arithmetic that every search of it does.

use crate::isa::LANES;

/// What sub-blocks of `G` values can store, and how each step of the search is done for them.
pub(super) trait Scheme<const G: usize>: Copy {
    /// Grids that are tried: the first, and those after a refit.
    const ROUNDS: usize;
    /// The level nearest to `v`, and of two as near the even one; NaN becomes the least.
    fn level(self, v: f32) -> f32;
    /// The best scale and minimum of a sub-block that stores them exactly.
    fn fit(self, x: &[f32; G], w: &[f32; G]) -> Pair;
    /// `d` and `dmin`, as real numbers, that cover the scales and minima of all sub-blocks.
    fn cover(self, fits: &[Pair]) -> Pair;
    /// Stored scales and minima to try around `near`, which is in units of `d` and `dmin`.
    fn around(self, near: Pair) -> [Lanes; 2];
}

/// One number for each candidate.
pub(super) type Lanes = [f32; LANES];

/// A scale and a minimum.
#[derive(Clone, Copy, Default)]
pub(super) struct Pair {
    pub scale: f32,
    pub min: f32,
}

/// Weighted squared errors of a sub-block for candidate scales and minima.
#[inline(always)]
pub(super) fn errors<const G: usize>(
    scheme: impl Scheme<G>,
    x: &[f32; G],
    w: &[f32; G],
    [scale, min]: [&Lanes; 2],
) -> Lanes {
    let inverse = scale.map(inverse);
    let mut errors = [0f32; LANES];
    for i in 0..G {
        for l in 0..LANES {
            let y = x[i] + min[l];
            let e = y - scale[l] * scheme.level(y * inverse[l]);
            errors[l] += w[i] * e * e;
        }
    }
    errors
}

/// The first of the least of `errors`, and where it is.
#[inline(always)]
pub(super) fn least(errors: &Lanes) -> (usize, f32) {
    let mut best = (0, errors[0]);
    for (l, &error) in errors.iter().enumerate() {
        if error < best.1 {
            best = (l, error);
        }
    }
    best
}

/// `v` rounded to an integer, ties to even, and held between `low` and `high`; NaN becomes `low`.
#[inline(always)]
pub(super) fn nearest(v: f32, low: f32, high: f32) -> f32 {
    // Floats from 2^23 to 2^24 are the integers, so the sum is rounded to one.
    const INTEGERS: f32 = 12_582_912.0;
    let v = if v > low { v } else { low };
    let v = if v < high { v } else { high };
    (v + INTEGERS) - INTEGERS
}

/// The greater of `a` and `b`; `a` when `b` is NaN.
#[inline(always)]
pub(super) fn at_least(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// `1 / v`, or 0 for 0.
#[inline(always)]
pub(super) fn inverse(v: f32) -> f32 {
    if v == 0.0 { 0.0 } else { 1.0 / v }
}
