//! Quantized weights times 8-bit activations: the chain that every kernel of an [`IntFormat`] computes.
//!
//! For the groups `g` of a row in ascending order, with the weights' `scale` and `min` and the activations'
//! `d` and integers `x`:
//!
//! ```text
//! isum = sum of q[i] * x[i] over the group                  exact, in i32
//! acc  = fma(isum, scale[g] * d, acc)
//! acc  = fma(-min[g], d * sum(x), acc)                      formats with minima
//! ```

use super::activations::{GROUP, QuantizedRow};
use crate::block::{IntFormat, Unpacked};

/// One row of weights times one row of activations, straight from the stored blocks.
#[inline(always)]
pub(super) fn dot<F: IntFormat>(row: &[u8], x: QuantizedRow<'_>) -> f32 {
    let mut w = Unpacked::ZERO;
    let sums = x.sums(F::GROUP);
    let mut acc = 0f32;
    for (b, block) in row.chunks_exact(F::BYTES).enumerate() {
        w.set::<F>(block);
        for g in 0..F::LEN / F::GROUP {
            let at = b * F::LEN + g * F::GROUP;
            let isum = dot_i8(&w.q[g * F::GROUP..][..F::GROUP], &x.q[at..][..F::GROUP]);
            acc = (isum as f32).mul_add(w.scale[g] * x.d[at / GROUP], acc);
            if F::HAS_MIN {
                acc = (-w.min[g]).mul_add(sums[at / F::GROUP], acc);
            }
        }
    }
    acc
}

#[inline(always)]
fn dot_i8(q: &[i8], x: &[i8]) -> i32 {
    q.iter().zip(x).map(|(&q, &x)| i32::from(q) * i32::from(x)).sum()
}
