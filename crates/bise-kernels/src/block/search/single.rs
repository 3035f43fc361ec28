//! Blocks of 32 values with a scale of their own, and perhaps a minimum.

use super::affine::AffineScheme;
use super::scheme::{Pair, Scheme, at_least, errors, inverse, least};
use super::values::{SuperBlock, Values, ZERO};
use crate::isa::LANES;
use half::f16;
use std::array::from_fn;

impl Values {
    /// The first 32 values with a scale of their own, `x = d * q`: candidates around the best fit,
    /// then least squares, while the error falls.
    #[inline(always)]
    pub(super) fn one_scale<P: Scheme<32>>(&self, scheme: P) -> (f16, [i8; 32]) {
        let (x, w) = (&self.x.as_chunks().0[0], &self.w.as_chunks().0[0]);
        let mut near = scheme.fit(x, w).scale;
        let mut found = ZERO;
        let mut best = f32::INFINITY;
        for _ in 0..2 * P::ROUNDS {
            let stored: [_; LANES] =
                from_fn(|l| self.round(near * (1.0 + (l as f32 - 7.0) / 256.0)));
            let scales = stored.map(|(_, scale)| scale);
            let (l, error) = least(&errors(scheme, x, w, [&scales, &[0.0; LANES]]));
            if error >= best {
                break;
            }
            (best, found.d, found.scale[0]) = (error, stored[l].0, 1);
            let (mut qq, mut qx) = (0f32, 0f32);
            for i in 0..32 {
                let q = scheme.level(x[i] * inverse(scales[l]));
                qq += w[i] * q * q;
                qx += w[i] * q * x[i];
            }
            near = qx / at_least(f32::MIN_POSITIVE, qq);
        }
        (found.d, self.first_levels(scheme, &mut found))
    }

    /// The first 32 values with a scale and a minimum of their own, `x = d * q - m`: candidates
    /// around the best fit, each brought to its least squares, while the error falls.
    #[inline(always)]
    pub(super) fn scale_and_min(&self, scheme: AffineScheme) -> (f16, f16, [i8; 32]) {
        let (x, w): (&[f32; 32], _) = (&self.x.as_chunks().0[0], &self.w.as_chunks().0[0]);
        // A fit has no negative minimum: values that all lie above zero are counted from the least
        // of them.
        let low = at_least(
            0.0,
            x.iter().fold(f32::MAX, |low, &v| if v < low { v } else { low }),
        );
        let y = x.map(|v| v - low);
        let mut near = scheme.fit(&y, w);
        let mut found = ZERO;
        let mut best = f32::INFINITY;
        for _ in 0..2 * <AffineScheme as Scheme<32>>::ROUNDS {
            let step = |n: usize| n as f32 - 1.0;
            let mut scale = from_fn(|l| near.scale * (1.0 + step(l / 4) / 32.0));
            let mut min = from_fn(|l| at_least(0.0, near.min + near.scale * step(l % 4) / 4.0));
            scheme.refine(&y, w, &mut scale, &mut min);
            let stored: [_; LANES] = from_fn(|l| [self.round(scale[l]), self.round(min[l] - low)]);
            let (scales, mins) = (stored.map(|[d, _]| d.1), stored.map(|[_, m]| m.1));
            let (l, error) = least(&errors(scheme, x, w, [&scales, &mins]));
            if error >= best {
                break;
            }
            best = error;
            [(found.d, _), (found.dmin, _)] = stored[l];
            (found.scale[0], found.min[0]) = (1, 1);
            near = Pair {
                scale: scale[l],
                min: min[l],
            };
        }
        (found.d, found.dmin, self.first_levels(scheme, &mut found))
    }

    /// The levels of the first 32 values.
    #[inline(always)]
    fn first_levels<P: Scheme<32>>(&self, scheme: P, found: &mut SuperBlock) -> [i8; 32] {
        self.pick(scheme, found);
        *found.q.first_chunk().expect("256 levels")
    }
}
