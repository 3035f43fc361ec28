//! The values of a super-block, and the three steps of the search.

use super::scheme::{Pair, Scheme, at_least, errors, inverse, least};
use crate::block::magnitude;
use crate::isa::LANES;
use half::f16;

/// Values in a super-block.
const LEN: usize = 256;

/// A super-block as integers: `x = d * scale[g] * q[i] - dmin * min[g]` for value `i` of sub-block
/// `g`.
#[derive(Clone)]
pub(in crate::block) struct SuperBlock {
    pub d: f16,
    pub dmin: f16,
    pub scale: [i8; LEN / 16],
    pub min: [i8; LEN / 16],
    pub q: [i8; LEN],
}

/// All values zero.
pub(super) const ZERO: SuperBlock = SuperBlock {
    d: f16::ZERO,
    dmin: f16::ZERO,
    scale: [0; LEN / 16],
    min: [0; LEN / 16],
    q: [0; LEN],
};

/// The values in units of a power of two, so that no sum of squares overflows, and their weights.
pub(super) struct Values {
    pub x: [f32; LEN],
    pub w: [f32; LEN],
    /// What a unit is.
    unit: f32,
    /// `1 / unit`.
    per_unit: f32,
}

impl Values {
    /// `None` when every value is nearer to zero than to what any scale can store, or one is not
    /// finite.
    #[inline(always)]
    pub fn new(x: &[f32], importance: Option<&[f32]>) -> Option<Self> {
        let most = magnitude(x);
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
    pub fn search<const G: usize, P: Scheme<G>>(&self, scheme: P) -> SuperBlock {
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
    pub fn pick<const G: usize, P: Scheme<G>>(&self, scheme: P, found: &mut SuperBlock) {
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
    pub fn round(&self, v: f32) -> (f16, f32) {
        let v = v * self.unit;
        let mut stored = f16::from_f32(v.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
        if stored == f16::ZERO && v != 0.0 {
            stored = f16::MIN_POSITIVE_SUBNORMAL.copysign(stored);
        }
        (stored, stored.to_f32() * self.per_unit)
    }
}
