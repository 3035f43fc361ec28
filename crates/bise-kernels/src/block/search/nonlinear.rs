//! Sub-blocks with a signed scale, and levels from a table: `x = s * level`.

use super::scheme::{Lanes, Pair, Scheme, at_least, inverse, least, nearest};
use crate::block::extreme;
use crate::isa::LANES;

/// The levels of IQ4_NL and IQ4_XS.
const LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// The levels, 128 more.
pub(in crate::block) const TABLE: [u8; 16] = {
    let (mut table, mut i) = ([0; 16], 0);
    while i < 16 {
        table[i] = LEVELS[i] as u8 ^ 128;
        i += 1;
    }
    table
};

/// Where `level` stands in the table, or the next above it.
#[inline(always)]
pub(in crate::block) fn place(level: i8) -> u8 {
    let mut below = 0;
    for known in LEVELS {
        below += u8::from(known < level);
    }
    below & 15
}

/// Levels of the table, scales `-steps..steps`.
#[derive(Clone, Copy)]
pub(super) struct NonlinearScheme {
    pub steps: f32,
}

impl Scheme<32> for NonlinearScheme {
    const ROUNDS: usize = 2;

    #[inline(always)]
    fn level(self, v: f32) -> f32 {
        let mut level = f32::from(LEVELS[0]);
        for pair in LEVELS.windows(2) {
            let (below, above) = (f32::from(pair[0]), f32::from(pair[1]));
            level = if v > (below + above) / 2.0 { above } else { level };
        }
        level
    }

    /// Candidates put the extreme value near the least level or near the greatest.
    #[inline(always)]
    fn fit(self, x: &[f32; 32], w: &[f32; 32]) -> Pair {
        let per_extreme = inverse(extreme(x));
        let mut best = (f32::INFINITY, 0.0);
        for end in [LEVELS[0], LEVELS[15]] {
            let inverse: Lanes =
                std::array::from_fn(|l| (f32::from(end) + l as f32 - 7.0) * per_extreme);
            let (mut sqq, mut sqx) = ([0f32; LANES], [0f32; LANES]);
            for i in 0..32 {
                for l in 0..LANES {
                    let q = self.level(x[i] * inverse[l]);
                    sqq[l] += w[i] * q * q;
                    sqx[l] += w[i] * q * x[i];
                }
            }
            // Levels q leave the error sxx - sqx^2 / sqq.
            let gains =
                std::array::from_fn(|l| -sqx[l] * sqx[l] / at_least(f32::MIN_POSITIVE, sqq[l]));
            let (l, gain) = least(&gains);
            if gain < best.0 {
                best = (gain, sqx[l] / at_least(f32::MIN_POSITIVE, sqq[l]));
            }
        }
        Pair {
            scale: best.1,
            min: 0.0,
        }
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
