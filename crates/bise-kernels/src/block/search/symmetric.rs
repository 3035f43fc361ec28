//! Sub-blocks with a signed scale alone: `x = s * q`.

use super::scheme::{Lanes, Pair, Scheme, at_least, inverse, least, nearest};
use crate::block::extreme;
use crate::isa::LANES;

/// Levels `-levels..levels`, scales `-steps..steps`.
#[derive(Clone, Copy)]
pub(super) struct SymmetricScheme {
    pub levels: f32,
    pub steps: f32,
}

impl<const G: usize> Scheme<G> for SymmetricScheme {
    const ROUNDS: usize = 2;

    #[inline(always)]
    fn level(self, v: f32) -> f32 {
        nearest(v, -self.levels, self.levels - 1.0)
    }

    /// Candidates put the extreme value on levels from one beyond the least to almost three within.
    #[inline(always)]
    fn fit(self, x: &[f32; G], w: &[f32; G]) -> Pair {
        let per_extreme = inverse(extreme(x));
        let inverse: Lanes =
            std::array::from_fn(|l| (0.25 * l as f32 - self.levels - 1.0) * per_extreme);
        let (mut sqq, mut sqx) = ([0f32; LANES], [0f32; LANES]);
        for i in 0..G {
            for l in 0..LANES {
                let q = nearest(x[i] * inverse[l], -self.levels, self.levels - 1.0);
                sqq[l] += w[i] * q * q;
                sqx[l] += w[i] * q * x[i];
            }
        }
        // Levels q leave the error sxx - sqx^2 / sqq.
        let gains = std::array::from_fn(|l| -sqx[l] * sqx[l] / at_least(f32::MIN_POSITIVE, sqq[l]));
        let best = least(&gains).0;
        let scale = sqx[best] / at_least(f32::MIN_POSITIVE, sqq[best]);
        Pair { scale, min: 0.0 }
    }

    #[inline(always)]
    fn cover(self, fits: &[Pair]) -> Pair {
        let larger = |m: f32, p: &Pair| if p.scale.abs() > m.abs() { p.scale } else { m };
        Pair {
            scale: fits.iter().fold(0.0, larger) / -self.steps,
            min: 0.0,
        }
    }

    #[inline(always)]
    fn around(self, near: Pair) -> [Lanes; 2] {
        let first = nearest(near.scale - 7.5, -self.steps, self.steps - LANES as f32);
        [std::array::from_fn(|l| first + l as f32), [0.0; LANES]]
    }
}
