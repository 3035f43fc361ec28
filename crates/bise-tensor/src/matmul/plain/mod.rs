//! Unquantized weights times f32 activations: 16 chains, then one tree.
//!
//! ```text
//! acc[l] = fma(w[16 i + l], x[16 i + l], acc[l])   for i ascending; a short last sixteen is filled with zeros
//! y      = tree sum of acc                         lanes l and l + 8, then l + 4, l + 2, l + 1
//! ```
//!
//! Few rows of activations meet the weights where they lie in the file. For many, `panel` unpacks the weights once for all.

pub(crate) mod panel;

use super::Matrix;
use super::activations::Activations;
use crate::block::PlainFormat;
use crate::isa::{Isa, LANES};
use crate::threads::Strip;

/// So many rows of activations are few: the sums of four rows of weights, or of two, fill the registers.
pub(super) const FEW: usize = 3;

/// The outputs of the rows of `w` from `first` on for the rows of `x`, at most [`FEW`].
#[inline(always)]
pub(super) fn multiply<S: Isa, F: PlainFormat>(
    isa: S,
    w: Matrix<'_>,
    first: usize,
    x: &Activations,
    out: &mut Strip<'_>,
) {
    match x.len() {
        1 => columns::<S, F, 1>(isa, w, first, x, out),
        2 => columns::<S, F, 2>(isa, w, first, x, out),
        _ => columns::<S, F, 3>(isa, w, first, x, out),
    }
}

/// The outputs of a strip for the `N` rows of `x`.
#[inline(always)]
fn columns<S: Isa, F: PlainFormat, const N: usize>(
    isa: S,
    w: Matrix<'_>,
    first: usize,
    x: &Activations,
    out: &mut Strip<'_>,
) {
    let rows = out.width();
    let mut inputs = [x.f32_row(0); N];
    for c in 0..N {
        inputs[c] = x.f32_row(c);
    }
    let row = |r: usize| w.row(first + r);
    let mut r = 0;
    if N == 1 || S::REGISTERS >= 32 {
        while r + 4 <= rows {
            let w = [row(r), row(r + 1), row(r + 2), row(r + 3)];
            store(r, tile::<S, F, 4, N>(isa, w, inputs), out);
            r += 4;
        }
    }
    while r + 2 <= rows {
        store(r, tile::<S, F, 2, N>(isa, [row(r), row(r + 1)], inputs), out);
        r += 2;
    }
    if r < rows {
        store(r, tile::<S, F, 1, N>(isa, [row(r)], inputs), out);
    }
}

/// Puts the outputs of the rows of weights from `r` on where they belong.
#[inline(always)]
fn store<const R: usize, const N: usize>(r: usize, sums: [[f32; N]; R], out: &mut Strip<'_>) {
    for c in 0..N {
        for i in 0..R {
            out.row(c)[r + i] = sums[i][c];
        }
    }
}

/// The products of `R` rows of weights and `N` rows of activations.
#[inline(always)]
fn tile<S: Isa, F: PlainFormat, const R: usize, const N: usize>(
    isa: S,
    w: [&[u8]; R],
    x: [&[f32]; N],
) -> [[f32; N]; R] {
    let len = x[0].len();
    let mut acc = [[isa.splat(0.0); N]; R];
    for i in (0..len / LANES * LANES).step_by(LANES) {
        let mut weights = [isa.splat(0.0); R];
        for r in 0..R {
            weights[r] = F::load(isa, &w[r][i * F::BYTES..(i + LANES) * F::BYTES]);
        }
        for c in 0..N {
            let x = isa.load(x[c][i..i + LANES].try_into().expect("16 lanes"));
            for r in 0..R {
                acc[r][c] = isa.fma(weights[r], x, acc[r][c]);
            }
        }
    }
    let rest = len / LANES * LANES;
    if rest < len {
        for r in 0..R {
            let mut last = [0f32; LANES];
            for (i, bytes) in w[r][rest * F::BYTES..].chunks_exact(F::BYTES).enumerate() {
                last[i] = F::to_f32(bytes);
            }
            let weights = isa.load(&last);
            for c in 0..N {
                let mut last = [0f32; LANES];
                last[..len - rest].copy_from_slice(&x[c][rest..]);
                acc[r][c] = isa.fma(weights, isa.load(&last), acc[r][c]);
            }
        }
    }
    let mut sums = [[0.0; N]; R];
    for r in 0..R {
        for c in 0..N {
            sums[r][c] = isa.sum(acc[r][c]);
        }
    }
    sums
}
