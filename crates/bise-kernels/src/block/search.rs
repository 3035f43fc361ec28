//! Scales and levels for super-blocks of 256 values, what the K formats share, and for single
//! blocks of 32.
//!
//! A super-block stores `x = d * scale[g] * q[i] - dmin * min[g]`, small integers but for `d` and
//! `dmin`. The search looks for the least weighted squared error in three steps:
//!
//! 1. *Fit.* Each sub-block alone finds a real scale and minimum: candidates give levels, and levels give the
//!    best scale and minimum in closed form (least squares).
//! 2. *Grid.* `d` and `dmin` follow from the largest scale and minimum. Each sub-block then tries the stored
//!    integers around its own scale and minimum, with levels picked anew for each.
//! 3. *Refit.* With all integers fixed, the best `d` and `dmin` are least squares again; back to 2, while the
//!    error falls.
//!
//! Candidates lie in [`LANES`] lanes and loops walk the values. So every sum has one order, and the
//! same values give the same bytes on every machine.

mod affine;
pub(super) mod nonlinear;
mod single;
mod symmetric;

use crate::isa::LANES;
use affine::AffineScheme;
use half::f16;
use nonlinear::NonlinearScheme;
use symmetric::SymmetricScheme;

/// Values in a super-block.
const LEN: usize = 256;

/// A super-block as integers: `x = d * scale[g] * q[i] - dmin * min[g]` for value `i` of sub-block
/// `g`.
#[derive(Clone)]
pub(super) struct SuperBlock {
    pub d: f16,
    pub dmin: f16,
    pub scale: [i8; LEN / 16],
    pub min: [i8; LEN / 16],
    pub q: [i8; LEN],
}

/// All values zero.
const ZERO: SuperBlock = SuperBlock {
    d: f16::ZERO,
    dmin: f16::ZERO,
    scale: [0; LEN / 16],
    min: [0; LEN / 16],
    q: [0; LEN],
};

/// Levels `0..=levels`, scales and minima `0..=steps`, for sub-blocks of `G`.
#[inline(always)]
pub(super) fn affine<const G: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    levels: u8,
    steps: u8,
) -> SuperBlock {
    let (levels, steps) = (f32::from(levels), f32::from(steps));
    search::<G>(x, importance, AffineScheme { levels, steps })
}

/// Levels `-levels..levels`, scales `-steps..steps`, no minima, for sub-blocks of 16.
#[inline(always)]
pub(super) fn symmetric(
    x: &[f32],
    importance: Option<&[f32]>,
    levels: u8,
    steps: u8,
) -> SuperBlock {
    let (levels, steps) = (f32::from(levels), f32::from(steps));
    search::<16>(x, importance, SymmetricScheme { levels, steps })
}

/// Levels of the table in [`nonlinear`], scales `-steps..steps`, no minima, for sub-blocks of 32.
#[inline(always)]
pub(super) fn nonlinear(x: &[f32], importance: Option<&[f32]>, steps: u8) -> SuperBlock {
    let steps = f32::from(steps);
    search::<32>(x, importance, NonlinearScheme { steps })
}

/// The scale and the levels of the same table for 32 values: `x = d * level`.
#[inline(always)]
pub(super) fn one_scale(x: &[f32], importance: Option<&[f32]>) -> (f16, [i8; 32]) {
    match Values::new(x, importance) {
        Some(values) => values.one_scale(NonlinearScheme { steps: 1.0 }),
        None => (f16::ZERO, [0; 32]),
    }
}

/// The scale and the levels `-levels..levels` of 32 values: `x = d * q`.
#[inline(always)]
pub(super) fn symmetric_block(x: &[f32], importance: &[f32], levels: u8) -> (f16, [i8; 32]) {
    let levels = f32::from(levels);
    match Values::new(x, Some(importance)) {
        Some(values) => values.one_scale(SymmetricScheme { levels, steps: 1.0 }),
        None => (f16::ZERO, [0; 32]),
    }
}

/// The scale, the minimum, of either sign, and the levels `0..=levels` of 32 values:
/// `x = d * q - m`.
#[inline(always)]
pub(super) fn affine_block(x: &[f32], importance: &[f32], levels: u8) -> (f16, f16, [i8; 32]) {
    let levels = f32::from(levels);
    match Values::new(x, Some(importance)) {
        Some(values) => values.scale_and_min(AffineScheme { levels, steps: 1.0 }),
        None => (f16::ZERO, f16::ZERO, [0; 32]),
    }
}

#[inline(always)]
fn search<const G: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    scheme: impl Scheme<G>,
) -> SuperBlock {
    match Values::new(x, importance) {
        Some(values) => values.search(scheme),
        None => ZERO,
    }
}

/// What sub-blocks of `G` values can store, and how each step of the search is done for them.
trait Scheme<const G: usize>: Copy {
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
type Lanes = [f32; LANES];

/// A scale and a minimum.
#[derive(Clone, Copy, Default)]
struct Pair {
    scale: f32,
    min: f32,
}

/// The values in units of a power of two, so that no sum of squares overflows, and their weights.
struct Values {
    x: [f32; LEN],
    w: [f32; LEN],
    /// What a unit is.
    unit: f32,
    /// `1 / unit`.
    per_unit: f32,
}

impl Values {
    /// `None` when every value is nearer to zero than to what any scale can store, or one is not
    /// finite.
    #[inline(always)]
    fn new(x: &[f32], importance: Option<&[f32]>) -> Option<Self> {
        let most = super::magnitude(x);
        let half_a_step = f16::MIN_POSITIVE_SUBNORMAL.to_f32() / 2.0;
        if !(most > half_a_step && most.is_finite()) {
            return None;
        }
        let unit = f32::from_bits(most.to_bits() & f32::INFINITY.to_bits());
        let per_unit = 1.0 / unit;
        let mut values = Values {
            x: [0.0; LEN],
            w: [1.0; LEN],
            unit,
            per_unit,
        };
        for (y, x) in values.x.iter_mut().zip(x) {
            *y = x * per_unit;
        }
        if let Some(importance) = importance {
            let most = importance.iter().copied().fold(0.0, at_least);
            if most > 0.0 && most < f32::MAX {
                for (w, v) in values.w.iter_mut().zip(importance) {
                    // Values without weight still decide when all others are alike.
                    *w = at_least(1e-6, v / most);
                }
            }
        }
        Some(values)
    }

    #[inline(always)]
    fn search<const G: usize, P: Scheme<G>>(&self, scheme: P) -> SuperBlock {
        let (xs, ws) = (self.x.as_chunks::<G>().0, self.w.as_chunks::<G>().0);
        let mut fits = [Pair::default(); LEN / 16];
        let fits = &mut fits[..LEN / G];
        for (fit, (x, w)) in fits.iter_mut().zip(xs.iter().zip(ws)) {
            *fit = scheme.fit(x, w);
        }
        let mut unit = scheme.cover(fits);
        let mut best = ZERO;
        let mut best_error = f32::INFINITY;
        for _ in 0..P::ROUNDS {
            let mut found = ZERO;
            (found.d, unit.scale) = self.round(unit.scale);
            (found.dmin, unit.min) = self.round(unit.min);
            let error = self.grid(scheme, fits, unit, &mut found);
            if error < best_error {
                (best, best_error) = (found, error);
            } else {
                break;
            }
            let Some(next) = self.refit(scheme, &best, unit) else {
                break;
            };
            for (g, fit) in fits.iter_mut().enumerate() {
                fit.scale = next.scale * f32::from(best.scale[g]);
                fit.min = next.min * f32::from(best.min[g]);
            }
            unit = next;
        }
        self.pick(scheme, &mut best);
        best
    }

    /// Picks each sub-block's stored scale and minimum near `fits`; gives the error.
    #[inline(always)]
    fn grid<const G: usize, P: Scheme<G>>(
        &self,
        scheme: P,
        fits: &[Pair],
        unit: Pair,
        found: &mut SuperBlock,
    ) -> f32 {
        let (xs, ws) = (self.x.as_chunks::<G>().0, self.w.as_chunks::<G>().0);
        let (per_d, per_dmin) = (inverse(unit.scale), inverse(unit.min));
        let mut total = 0f32;
        for (g, fit) in fits.iter().enumerate() {
            let near = Pair {
                scale: fit.scale * per_d,
                min: fit.min * per_dmin,
            };
            let [scales, mins] = scheme.around(near);
            let (scale, min) = (scales.map(|s| s * unit.scale), mins.map(|m| m * unit.min));
            let (l, error) = least(&errors(scheme, &xs[g], &ws[g], [&scale, &min]));
            found.scale[g] = scales[l] as i8;
            found.min[g] = mins[l] as i8;
            total += error;
        }
        total
    }

    /// The best `d` and `dmin` for the integers that `found` has with `unit`, or `None` when
    /// undetermined.
    ///
    /// With `a = scale * q` and `x = d * a - dmin * min`, these are the normal equations.
    #[inline(always)]
    fn refit<const G: usize, P: Scheme<G>>(
        &self,
        scheme: P,
        found: &SuperBlock,
        unit: Pair,
    ) -> Option<Pair> {
        let (xs, ws) = (self.x.as_chunks::<G>().0, self.w.as_chunks::<G>().0);
        let [mut aa, mut am, mut mm, mut ax, mut mx] = [[0f32; LANES]; 5];
        for (g, (x, w)) in xs.iter().zip(ws).enumerate() {
            let (s, m) = (f32::from(found.scale[g]), f32::from(found.min[g]));
            let (inverse, min) = (inverse(s * unit.scale), m * unit.min);
            for (x, w) in x.as_chunks::<LANES>().0.iter().zip(w.as_chunks::<LANES>().0) {
                for l in 0..LANES {
                    let a = s * scheme.level((x[l] + min) * inverse);
                    aa[l] += w[l] * a * a;
                    am[l] += w[l] * a * m;
                    mm[l] += w[l] * m * m;
                    ax[l] += w[l] * a * x[l];
                    mx[l] += w[l] * m * x[l];
                }
            }
        }
        let [aa, am, mm, ax, mx] = [aa, am, mm, ax, mx].map(|v| v.iter().sum::<f32>());
        let next = if mm > 0.0 {
            let determinant = aa * mm - am * am;
            Pair {
                scale: (ax * mm - am * mx) / determinant,
                min: (am * ax - aa * mx) / determinant,
            }
        } else {
            Pair {
                scale: ax / aa,
                min: 0.0,
            }
        };
        (next.scale.is_finite() && next.min >= 0.0 && next.min.is_finite()).then_some(next)
    }

    /// Picks the levels.
    #[inline(always)]
    fn pick<const G: usize, P: Scheme<G>>(&self, scheme: P, found: &mut SuperBlock) {
        let (d, dmin) = (
            found.d.to_f32() * self.per_unit,
            found.dmin.to_f32() * self.per_unit,
        );
        let groups = found
            .q
            .as_chunks_mut::<G>()
            .0
            .iter_mut()
            .zip(self.x.as_chunks::<G>().0);
        for (g, (q, x)) in groups.enumerate() {
            let (scale, min) = (d * f32::from(found.scale[g]), dmin * f32::from(found.min[g]));
            let inverse = inverse(scale);
            for (q, x) in q.iter_mut().zip(x) {
                *q = scheme.level((x + min) * inverse) as i8;
            }
        }
    }

    /// The f16 nearest to `v` units, neither zero nor infinite unless `v` is zero, and its value in
    /// units.
    #[inline(always)]
    fn round(&self, v: f32) -> (f16, f32) {
        let v = v * self.unit;
        let mut stored = f16::from_f32(v.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
        if stored == f16::ZERO && v != 0.0 {
            stored = f16::MIN_POSITIVE_SUBNORMAL.copysign(stored);
        }
        (stored, stored.to_f32() * self.per_unit)
    }
}

/// Weighted squared errors of a sub-block for candidate scales and minima.
#[inline(always)]
fn errors<const G: usize>(
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
fn least(errors: &Lanes) -> (usize, f32) {
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
fn nearest(v: f32, low: f32, high: f32) -> f32 {
    // Floats from 2^23 to 2^24 are the integers, so the sum is rounded to one.
    const INTEGERS: f32 = 12_582_912.0;
    let v = if v > low { v } else { low };
    let v = if v < high { v } else { high };
    (v + INTEGERS) - INTEGERS
}

/// The greater of `a` and `b`; `a` when `b` is NaN.
#[inline(always)]
fn at_least(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// `1 / v`, or 0 for 0.
#[inline(always)]
fn inverse(v: f32) -> f32 {
    if v == 0.0 { 0.0 } else { 1.0 / v }
}
