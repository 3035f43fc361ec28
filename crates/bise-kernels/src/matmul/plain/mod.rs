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
        3 * widest::<S>()
    }
}

/// How many rows of activations a tile has at most: with four or two rows of weights, a compiler keeps these sums in registers.
const fn widest<S: Isa>() -> usize {
    if S::REGISTERS >= 32 { 4 } else { 2 }
}

/// Rows of activations that are few, at any level.
const MOST: usize = 12;
/// How many activations are multiplied with all rows of a strip before the next: they stay in the first cache.
const NEAR: usize = 4096;

/// Chains of a row of weights and a few rows of activations.
type Sums = [[f32; LANES]; MOST];

/// Some columns of a strip of weights, and the rows of activations that they meet.
#[derive(Clone, Copy)]
struct Piece<'a> {
    w: Matrix<'a>,
    x: &'a Activations,
    /// The first row of the strip, and how many it has.
    first: usize,
    rows: usize,
    /// The columns.
    from: usize,
    to: usize,
}

impl<'a> Piece<'a> {
    /// The weights of row `r` of the strip.
    #[inline(always)]
    fn weights<F: PlainFormat>(&self, r: usize) -> &'a [u8] {
        &self.w.row(self.first + r)[self.from * F::BYTES..self.to * F::BYTES]
    }

    /// The activations of row `c`.
    #[inline(always)]
    fn inputs(&self, c: usize) -> &'a [f32] {
        &self.x.f32_row(c)[self.from..self.to]
    }

    /// Where the weights are that will be needed when as many rows as there are activations have gone by, which is time enough
    /// for memory to bring them: further down, in the next columns, or in the next strip.
    #[inline(always)]
    fn ahead<F: PlainFormat>(&self, r: usize) -> *const u8 {
        let r = r + if self.x.len() == 1 {
            1
        } else {
            self.x.len().next_multiple_of(4)
        };
        match r.checked_sub(self.rows) {
            None => self.weights::<F>(r).as_ptr(),
            Some(r) => onward::<F>(self.w, self.first, self.rows, r, self.to),
        }
    }
}

/// Where row `r` of the strip of `rows` rows from `first` on goes on at column `to`: there, or past the last column in the next
/// strip.
#[inline(always)]
fn onward<F: PlainFormat>(w: Matrix<'_>, first: usize, rows: usize, r: usize, to: usize) -> *const u8 {
    let (row, column) = if to < w.cols() { (r, to) } else { (rows + r, 0) };
    &raw const w.row((first + row).min(w.rows() - 1))[column * F::BYTES]
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
    let mut sums = [[[0.0; LANES]; MOST]; LANES];
    let (rows, width) = (out.width(), (NEAR / x.len()).next_multiple_of(LANES));
    for from in (0..w.cols()).step_by(width) {
        let to = (from + width).min(w.cols());
        let piece = Piece {
            w,
            x,
            first,
            rows,
            from,
            to,
        };
        // Several rows share what is loaded of some activations. One token reads row after row, as fast as memory gives them.
        let mut r = 0;
        while S::REGISTERS >= 32 && x.len() > 1 && r + 4 <= rows {
            tiles::<S, F, 4>(isa, piece, r, &mut sums);
            r += 4;
        }
        while x.len() > 1 && r + 2 <= rows {
            tiles::<S, F, 2>(isa, piece, r, &mut sums);
            r += 2;
        }
        while r < rows {
            tiles::<S, F, 1>(isa, piece, r, &mut sums);
            r += 1;
        }
    }
    for c in 0..x.len() {
        for (y, sums) in out.row(c).iter_mut().zip(&sums) {
            *y = isa.sum(isa.load(&sums[c]));
        }
    }
}

/// Goes on with the chains of `R` rows of the strip from `r` on: tile by tile, while the weights are near.
#[inline(always)]
fn tiles<S: Isa, F: PlainFormat, const R: usize>(isa: S, piece: Piece<'_>, r: usize, sums: &mut [Sums]) {
    let cut = Cut::new(piece.x.len(), widest::<S>());
    for t in 0..cut.tiles() {
        let c = cut.start(t);
        match cut.width(t) {
            1 => tile::<S, F, R, 1>(isa, piece, r, c, sums),
            2 => tile::<S, F, R, 2>(isa, piece, r, c, sums),
            3 if S::REGISTERS >= 32 => tile::<S, F, R, 3>(isa, piece, r, c, sums),
            4 if S::REGISTERS >= 32 => tile::<S, F, R, 4>(isa, piece, r, c, sums),
            width => unreachable!("a tile of {width} rows"),
        }
    }
}

/// Goes on with the chains of `R` rows of the strip from `r` on and `N` rows of activations from `c` on.
#[inline(always)]
fn tile<S: Isa, F: PlainFormat, const R: usize, const N: usize>(
    isa: S,
    piece: Piece<'_>,
    r: usize,
    c: usize,
    sums: &mut [Sums],
) {
    let sums = &mut sums[r..r + R];
    let (mut w, mut ahead) = ([piece.weights::<F>(r); R], [piece.ahead::<F>(r); R]);
    for i in 0..R {
        (w[i], ahead[i]) = (piece.weights::<F>(r + i), piece.ahead::<F>(r + i));
    }
    let len = piece.to - piece.from;
    let links = len / LANES;
    let mut inputs = [piece.inputs(c); N];
    let mut near = [&inputs[0].as_chunks::<LANES>().0[..links]; N];
    let mut acc = [[isa.splat(0.0); N]; R];
    for n in 0..N {
        inputs[n] = piece.inputs(c + n);
        near[n] = &inputs[n].as_chunks().0[..links];
        for r in 0..R {
            acc[r][n] = isa.load(&sums[r][c + n]);
        }
    }
    for link in 0..links {
        let mut x = [isa.splat(0.0); N];
        for n in 0..N {
            x[n] = isa.load(&near[n][link]);
        }
        let bytes = link * LANES * F::BYTES..(link + 1) * LANES * F::BYTES;
        for r in 0..R {
            isa.prefetch(ahead[r].wrapping_add(bytes.start));
            let weights = F::load(isa, &w[r][bytes.clone()]);
            for n in 0..N {
                acc[r][n] = isa.fma(weights, x[n], acc[r][n]);
            }
        }
    }
    if !len.is_multiple_of(LANES) {
        for r in 0..R {
            let mut last = [0f32; LANES];
            let bytes = w[r][links * LANES * F::BYTES..].chunks_exact(F::BYTES);
            for (weight, bytes) in last.iter_mut().zip(bytes) {
                *weight = F::to_f32(bytes);
            }
            let weights = isa.load(&last);
            for n in 0..N {
                let some = &inputs[n][links * LANES..];
                let mut last = [0f32; LANES];
                last[..some.len()].copy_from_slice(some);
                acc[r][n] = isa.fma(weights, isa.load(&last), acc[r][n]);
            }
        }
    }
    for r in 0..R {
        for n in 0..N {
            isa.store(acc[r][n], &mut sums[r][c + n]);
        }
    }
}
