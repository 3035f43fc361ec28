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
use super::cut::Cut;
use crate::block::PlainFormat;
use crate::isa::{Isa, Kernel, LANES};
use crate::threads::Strip;

/// How many rows of activations are few: for them it is faster to convert the weights once for each tile, where they lie, than
/// once for all.
pub(super) struct Few;

impl Kernel for Few {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> usize {
        2 * panel::most::<S>()
    }
}

/// The outputs of the rows of `w` from `first` on for the rows of `x`.
#[inline(always)]
pub(super) fn multiply<S: Isa, F: PlainFormat>(
    isa: S,
    w: Matrix<'_>,
    first: usize,
    x: &Activations,
    out: &mut Strip<'_>,
) {
    // The sums of four rows of weights, or of two, fill the registers.
    let four = x.len() == 1 || S::REGISTERS >= 32;
    let (mut r, rows) = (0, out.width());
    while four && r + 4 <= rows {
        outputs::<S, F, 4>(isa, w, first, r, x, out);
        r += 4;
    }
    while r + 2 <= rows {
        outputs::<S, F, 2>(isa, w, first, r, x, out);
        r += 2;
    }
    if r < rows {
        outputs::<S, F, 1>(isa, w, first, r, x, out);
    }
}

/// The outputs of `R` rows of the strip from `r` on: tile by tile, while the weights are near.
#[inline(always)]
fn outputs<S: Isa, F: PlainFormat, const R: usize>(
    isa: S,
    w: Matrix<'_>,
    first: usize,
    r: usize,
    x: &Activations,
    out: &mut Strip<'_>,
) {
    let mut rows = [w.row(first + r); R];
    for i in 0..R {
        rows[i] = w.row(first + r + i);
    }
    let cut = Cut::new(x.len(), panel::most::<S>());
    for t in 0..cut.tiles() {
        let c = cut.start(t);
        match cut.width(t) {
            1 => tile::<S, F, R, 1>(isa, rows, r, x, c, out),
            2 => tile::<S, F, R, 2>(isa, rows, r, x, c, out),
            3 => tile::<S, F, R, 3>(isa, rows, r, x, c, out),
            4 if S::REGISTERS >= 32 => tile::<S, F, R, 4>(isa, rows, r, x, c, out),
            5 if S::REGISTERS >= 32 => tile::<S, F, R, 5>(isa, rows, r, x, c, out),
            6 if S::REGISTERS >= 32 => tile::<S, F, R, 6>(isa, rows, r, x, c, out),
            width => unreachable!("a tile of {width} rows"),
        }
    }
}

/// The outputs of the strip's `R` rows of weights from `r` on and the `N` rows of `x` from `c` on.
#[inline(always)]
fn tile<S: Isa, F: PlainFormat, const R: usize, const N: usize>(
    isa: S,
    w: [&[u8]; R],
    r: usize,
    x: &Activations,
    c: usize,
    out: &mut Strip<'_>,
) {
    let mut inputs = [x.f32_row(c); N];
    for i in 0..N {
        inputs[i] = x.f32_row(c + i);
    }
    let sums = products::<S, F, R, N>(isa, w, inputs);
    for i in 0..N {
        for (row, sums) in sums.iter().enumerate() {
            out.row(c + i)[r + row] = sums[i];
        }
    }
}

/// The products of `R` rows of weights and `N` rows of activations.
#[inline(always)]
fn products<S: Isa, F: PlainFormat, const R: usize, const N: usize>(
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
