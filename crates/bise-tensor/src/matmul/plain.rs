//! Unquantized weights times f32 activations: 16 chains, then one tree.
//!
//! ```text
//! acc[l] = fma(w[16 i + l], x[16 i + l], acc[l])   for i ascending; a short last sixteen is filled with zeros
//! y      = tree sum of acc                         lanes l and l + 8, then l + 4, l + 2, l + 1
//! ```

use super::activations::Activations;
use crate::block::PlainFormat;
use crate::isa::{Isa, LANES};

/// One row of weights times every row of `x`; `write(n, y)` takes the results.
#[inline(always)]
pub(super) fn row<S: Isa, F: PlainFormat>(
    isa: S,
    w: &[u8],
    x: &Activations,
    mut write: impl FnMut(usize, f32),
) {
    let mut n = 0;
    while n + 4 <= x.len() {
        let y = dot::<S, F, 4>(
            isa,
            w,
            [x.f32_row(n), x.f32_row(n + 1), x.f32_row(n + 2), x.f32_row(n + 3)],
        );
        y.into_iter().enumerate().for_each(|(c, y)| write(n + c, y));
        n += 4;
    }
    while n < x.len() {
        write(n, dot::<S, F, 1>(isa, w, [x.f32_row(n)])[0]);
        n += 1;
    }
}

/// `N` dot products with the same weights.
#[inline(always)]
pub(crate) fn dot<S: Isa, F: PlainFormat, const N: usize>(isa: S, w: &[u8], x: [&[f32]; N]) -> [f32; N] {
    let mut acc = [isa.splat(0.0); N];
    let mut weights = w.chunks_exact(LANES * F::BYTES);
    let mut i = 0;
    for w in &mut weights {
        let w = F::load(isa, w);
        for c in 0..N {
            let x: &[f32; LANES] = x[c][i..i + LANES].try_into().expect("16 lanes");
            acc[c] = isa.fma(w, isa.load(x), acc[c]);
        }
        i += LANES;
    }
    let rest = weights.remainder();
    if !rest.is_empty() {
        let mut w = [0f32; LANES];
        for (w, bytes) in w.iter_mut().zip(rest.chunks_exact(F::BYTES)) {
            *w = F::to_f32(bytes);
        }
        let w = isa.load(&w);
        for c in 0..N {
            let mut last = [0f32; LANES];
            last[..x[c].len() - i].copy_from_slice(&x[c][i..]);
            acc[c] = isa.fma(w, isa.load(&last), acc[c]);
        }
    }
    let mut sums = [0f32; N];
    for c in 0..N {
        sums[c] = isa.sum(acc[c]);
    }
    sums
}
