//! Unquantized weights times f32 activations: 16 chains, then one tree.
//!
//! ```text
//! acc[l] = fma(w[16 i + l], x[16 i + l], acc[l])   for i ascending; a short last sixteen is filled with zeros
//! y      = tree sum of acc                         lanes l and l + 8, then l + 4, l + 2, l + 1
//! ```
//!
//! A tile of some rows of weights and some rows of activations keeps its sums in registers. For many rows of activations
//! the chains are walked in stretches of 1024, so that what a strip of 16 rows meets stays in the first cache.

use super::Matrix;
use super::activations::Activations;
use crate::block::PlainFormat;
use crate::isa::{Isa, LANES};
use crate::threads::Strip;

/// Values of a row that are worked on before the next rows are.
const DEPTH: usize = 1024;

/// The outputs of the rows of `w` from `first` on for all rows of `x`.
#[inline(always)]
pub(super) fn multiply<S: Isa, F: PlainFormat>(
    isa: S,
    w: Matrix<'_>,
    first: usize,
    x: &Activations,
    out: &mut Strip<'_>,
) {
    let most = if S::REGISTERS >= 32 { 6 } else { 3 };
    let count = x.len().div_ceil(most);
    for i in 0..count {
        let start = i * x.len() / count;
        match (i + 1) * x.len() / count - start {
            1 => columns::<S, F, 1>(isa, w, first, x, start, out),
            2 => columns::<S, F, 2>(isa, w, first, x, start, out),
            3 => columns::<S, F, 3>(isa, w, first, x, start, out),
            4 => columns::<S, F, 4>(isa, w, first, x, start, out),
            5 => columns::<S, F, 5>(isa, w, first, x, start, out),
            _ => columns::<S, F, 6>(isa, w, first, x, start, out),
        }
    }
}

/// The outputs of a strip for the `N` rows of `x` from `start` on.
#[inline(always)]
fn columns<S: Isa, F: PlainFormat, const N: usize>(
    isa: S,
    w: Matrix<'_>,
    first: usize,
    x: &Activations,
    start: usize,
    out: &mut Strip<'_>,
) {
    let (rows, depth) = (out.width(), if N == 1 { w.cols() } else { DEPTH });
    let mut inputs = [x.f32_row(start); N];
    for c in 0..N {
        inputs[c] = x.f32_row(start + c);
    }
    let mut acc = [[isa.splat(0.0); N]; LANES];
    for from in (0..w.cols()).step_by(depth) {
        let to = (from + depth).min(w.cols());
        let mut x = inputs;
        for c in 0..N {
            x[c] = &inputs[c][from..to];
        }
        let row = |r: usize| &w.row(first + r)[from * F::BYTES..to * F::BYTES];
        let mut r = 0;
        if N == 1 || S::REGISTERS >= 32 {
            while r + 4 <= rows {
                let acc = acc[r..].first_chunk_mut().expect("four rows");
                tile::<S, F, 4, N>(isa, [row(r), row(r + 1), row(r + 2), row(r + 3)], x, acc);
                r += 4;
            }
        }
        while r + 2 <= rows {
            let acc = acc[r..].first_chunk_mut().expect("two rows");
            tile::<S, F, 2, N>(isa, [row(r), row(r + 1)], x, acc);
            r += 2;
        }
        if r < rows {
            let acc = acc[r..].first_chunk_mut().expect("a row");
            tile::<S, F, 1, N>(isa, [row(r)], x, acc);
        }
    }
    for c in 0..N {
        for r in 0..rows {
            out.row(start + c)[r] = isa.sum(acc[r][c]);
        }
    }
}

/// Goes on with the chains of `R` rows of weights and `N` rows of activations.
#[inline(always)]
fn tile<S: Isa, F: PlainFormat, const R: usize, const N: usize>(
    isa: S,
    w: [&[u8]; R],
    x: [&[f32]; N],
    all: &mut [[S::F; N]; R],
) {
    let len = x[0].len();
    let mut acc = *all;
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
    *all = acc;
}
