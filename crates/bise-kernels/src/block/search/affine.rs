//! Sub-blocks with a scale and a minimum: `x = s * q - m`.

use super::scheme::{Lanes, Pair, Scheme, at_least, errors, inverse, least, nearest};
use crate::isa::LANES;

/// Levels `0..=levels`, scales and minima `0..=steps`.
#[derive(Clone, Copy)]
pub(super) struct AffineScheme {
    pub levels: f32,
    pub steps: f32,
}

impl<const G: usize> Scheme<G> for AffineScheme {
    const ROUNDS: usize = 3;

    #[inline(always)]
    fn level(self, v: f32) -> f32 {
        nearest(v, 0.0, self.levels)
    }

    /// Candidates cover 0.6 to 1.05 of the range of values, alternately nearer to its lower and
    /// upper end.
    #[inline(always)]
    fn fit(self, x: &[f32; G], w: &[f32; G]) -> Pair {
        let (mut low, mut high) = (0f32, x[0]);
        for &v in x {
            low = if v < low { v } else { low };
            high = if v > high { v } else { high };
        }
        let (mut scale, mut min) = ([0f32; LANES], [0f32; LANES]);
        for l in 0..LANES {
            let width = (high - low) * (0.6 + 0.03 * l as f32);
            let left_out = (high - low - width) * if l % 2 == 0 { 0.3 } else { 0.7 };
            scale[l] = width / self.levels;
            min[l] = at_least(0.0, -low - left_out);
        }
        self.refine(x, w, &mut scale, &mut min);
        let best = least(&errors(self, x, w, [&scale, &min])).0;
        Pair {
            scale: scale[best],
            min: min[best],
        }
    }

    #[inline(always)]
    fn cover(self, fits: &[Pair]) -> Pair {
        let most = |v: fn(&Pair) -> f32| fits.iter().map(v).fold(0.0, at_least) / self.steps;
        Pair {
            scale: most(|p| p.scale),
            min: most(|p| p.min),
        }
    }

    #[inline(always)]
    fn around(self, near: Pair) -> [Lanes; 2] {
        let first = |v: f32| nearest(v - 1.5, 0.0, self.steps - 3.0);
        let (scale, min) = (first(near.scale), first(near.min));
        [
            std::array::from_fn(|l| scale + (l / 4) as f32),
            std::array::from_fn(|l| min + (l % 4) as f32),
        ]
    }
}

impl AffineScheme {
    /// Replaces candidates by the least-squares scale and minimum for the levels that they give.
    ///
    /// With `y = x + min` and `y = s * q - e`, the normal equations give `s` and `e`; `min + e`
    /// must not be negative, and where it would be, `x = s * q` is fitted.
    #[inline(always)]
    pub(super) fn refine<const G: usize>(
        self,
        x: &[f32; G],
        w: &[f32; G],
        scale: &mut Lanes,
        min: &mut Lanes,
    ) {
        let inverse = scale.map(inverse);
        let [mut sq, mut sqq, mut sy, mut sqy] = [[0f32; LANES]; 4];
        let mut sw = 0f32;
        for i in 0..G {
            sw += w[i];
            for l in 0..LANES {
                let y = x[i] + min[l];
                let q = nearest(y * inverse[l], 0.0, self.levels);
                sq[l] += w[i] * q;
                sqq[l] += w[i] * q * q;
                sy[l] += w[i] * y;
                sqy[l] += w[i] * q * y;
            }
        }
        for l in 0..LANES {
            let determinant = sw * sqq[l] - sq[l] * sq[l];
            let s = (sw * sqy[l] - sq[l] * sy[l]) / determinant;
            let m = min[l] + (sq[l] * sqy[l] - sqq[l] * sy[l]) / determinant;
            let alone = (sqy[l] - min[l] * sq[l]) / sqq[l];
            let (s, m) = if m > 0.0 { (s, m) } else { (alone, 0.0) };
            if s > 0.0 && s < f32::MAX && m < f32::MAX {
                (scale[l], min[l]) = (s, m);
            }
        }
    }
}
