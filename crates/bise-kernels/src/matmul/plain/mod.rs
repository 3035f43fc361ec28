//! Unquantized weights times f32 activations: 16 accumulators, then one horizontal sum.
//!
//! ```text
//! acc[l] = fma(w[16 i + l], x[16 i + l], acc[l])  i ascending; the last 16 filled with zeros
//! y      = sum of acc by halving                  lanes l and l + 8, then l + 4, l + 2, l + 1
//! ```
//!
//! A weight with a scale of its tensor's is their product, `w = scale * stored`, rounded to f32
//! before it is multiplied: results are those of the dequantized weights.
//!
//! `gemv` converts weights where they lie in the file. For many rows of activations, `panel`
//! unpacks the weights once for all.

mod onward;
pub(crate) mod panel;
mod walk;

use super::activations::Activations;
use super::at_width::at_width;
use super::matrix::Matrix;
use super::microkernel::Microkernel;
use super::tiling::{Run, Tiling};
use super::tuning;
use crate::block::PlainFormat;
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::threads::Strip;
use onward::onward;
use panel::{HorizontalSums, PanelKernel, Workspace};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;
use walk::Walk;

/// Products of unquantized weights in 16 lanes.
pub(super) struct Plain16Lanes<'a, F> {
    pub level: Level,
    pub w: Matrix<'a>,
    pub format: PhantomData<F>,
}

impl<F: PlainFormat> Microkernel for Plain16Lanes<'_, F> {
    const MR: usize = tuning::PLAIN_MR;
    const KC: usize = tuning::PLAIN_KC;
    type Workspace = Workspace;

    fn workspace() -> &'static LocalKey<RefCell<Box<Workspace>>> {
        &panel::WORKSPACE
    }

    fn nr(&self) -> usize {
        self.level.run(panel::Nr)
    }

    fn nc(&self) -> usize {
        tuning::plain_nc(self.w.cols())
    }

    /// Panels hold half of the accumulators' columns each: two for the same `KC` columns.
    fn panels(&self) -> usize {
        2 * self.w.cols().div_ceil(Self::KC)
    }

    fn pack_activations(&self, x: &mut Activations, tiling: Tiling) {
        x.pack_plain(tiling);
    }

    fn pack_weights(&self, rows: Range<usize>, panel: usize, work: &mut Workspace) {
        self.level.run(panel::Unpack {
            w: self.w,
            row: rows.start,
            rows: rows.len(),
            half: panel % 2,
            first: panel / 2 * Self::KC,
            panel: &mut work.panel,
            format: self.format,
        });
    }

    fn kernel(&self, x: &Activations, run: Run, _: usize, work: &mut Workspace, _: &mut Strip<'_>) {
        let (level, width) = (self.level, run.width);
        let kernel = PanelKernel {
            panel: &work.panel,
            packed: x.plain_packed(),
            run,
            acc: &mut work.acc,
        };
        at_width(level, width, kernel);
    }

    fn finish(&self, rows: Range<usize>, work: &mut Workspace, out: &mut Strip<'_>) {
        let acc = &work.acc;
        self.level.run(HorizontalSums { acc, rows, out });
    }

    const HAS_GEMV: bool = true;

    fn gemv_max_rows(&self) -> usize {
        self.level.run(GemvMaxRows)
    }

    /// Rows are read where they are.
    fn pack_for_gemv(&self, _: &mut Activations, _: Tiling) {}

    fn gemv(&self, first: usize, x: &Activations, out: &mut Strip<'_>) {
        self.level.run(Gemv {
            w: self.w,
            x,
            first,
            out,
            format: self.format,
        });
    }
}

/// [`Microkernel::gemv_max_rows`] of a level.
struct GemvMaxRows;

impl Kernel for GemvMaxRows {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> usize {
        tuning::PLAIN_GEMV_MAX_TILES * gemv_nr::<S>()
    }
}

/// Rows of activations in a tile of `gemv`, at most: with four or two rows of weights, a compiler
/// keeps these accumulators in registers.
const fn gemv_nr<S: Isa>() -> usize {
    if S::MANY_ACCUMULATORS { 4 } else { 2 }
}

/// Rows of activations of `gemv`, at any level.
const GEMV_MAX_ROWS: usize = 4 * tuning::PLAIN_GEMV_MAX_TILES;

/// Accumulators of a row of weights and a few rows of activations.
type Accumulators = [[f32; LANES]; GEMV_MAX_ROWS];

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

    /// Where the weights are that will be needed when as many rows as there are activations have
    /// gone by, which is time enough for memory to bring them: further down, in the next columns,
    /// or in the next strip.
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

/// The outputs of up to 16 rows of weights, with the weights converted on their way from memory.
struct Gemv<'a, 's, F> {
    w: Matrix<'a>,
    x: &'a Activations,
    /// The first row of weights.
    first: usize,
    out: &'a mut Strip<'s>,
    format: PhantomData<F>,
}

impl<F: PlainFormat> Kernel for Gemv<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        gemv::<S, F>(isa, self.w, self.first, self.x, self.out);
    }
}

/// The outputs of the rows of `w` from `first` on for the rows of `x`.
#[inline(always)]
fn gemv<S: Isa, F: PlainFormat>(
    isa: S,
    w: Matrix<'_>,
    first: usize,
    x: &Activations,
    out: &mut Strip<'_>,
) {
    let mut acc = [[[0.0; LANES]; GEMV_MAX_ROWS]; LANES];
    let (rows, width) = (
        out.width(),
        (tuning::PLAIN_GEMV_VALUES / x.len()).next_multiple_of(LANES),
    );
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
        // Several rows share what is loaded of some activations. One token reads row after row, as
        // fast as memory gives them.
        let mut r = 0;
        while S::MANY_ACCUMULATORS && x.len() > 1 && r + 4 <= rows {
            tiles::<S, F, 4>(isa, piece, r, &mut acc);
            r += 4;
        }
        while x.len() > 1 && r + 2 <= rows {
            tiles::<S, F, 2>(isa, piece, r, &mut acc);
            r += 2;
        }
        while r < rows {
            tiles::<S, F, 1>(isa, piece, r, &mut acc);
            r += 1;
        }
    }
    for c in 0..x.len() {
        for (y, acc) in out.row(c).iter_mut().zip(&acc) {
            *y = isa.reduce_sum(isa.load(&acc[c]));
        }
    }
}

/// Adds a piece of `R` rows of the strip from `r` on to the accumulators: tile by tile, while the
/// weights are near.
#[inline(always)]
fn tiles<S: Isa, F: PlainFormat, const R: usize>(
    isa: S,
    piece: Piece<'_>,
    r: usize,
    kept: &mut [Accumulators],
) {
    let tiling = Tiling::new(piece.x.len(), gemv_nr::<S>());
    for t in 0..tiling.tiles() {
        let c = tiling.start(t);
        match tiling.width(t) {
            1 => tile::<S, F, R, 1>(isa, piece, r, c, kept),
            2 => tile::<S, F, R, 2>(isa, piece, r, c, kept),
            3 if S::MANY_ACCUMULATORS => tile::<S, F, R, 3>(isa, piece, r, c, kept),
            4 if S::MANY_ACCUMULATORS => tile::<S, F, R, 4>(isa, piece, r, c, kept),
            width => unreachable!("a tile of {width} rows"),
        }
    }
}

/// Adds a piece of `R` rows of the strip from `r` on, times `N` rows of activations from `c` on.
#[inline(always)]
fn tile<S: Isa, F: PlainFormat, const R: usize, const N: usize>(
    isa: S,
    piece: Piece<'_>,
    r: usize,
    c: usize,
    kept: &mut [Accumulators],
) {
    let kept = &mut kept[r..r + R];
    let (mut w, mut ahead) = ([piece.weights::<F>(r); R], [piece.ahead::<F>(r); R]);
    for i in 0..R {
        (w[i], ahead[i]) = (piece.weights::<F>(r + i), piece.ahead::<F>(r + i));
    }
    let mut rows = [piece.first + r; R];
    for i in 0..R {
        rows[i] += i;
    }
    let mut scales = Walk::new::<F>(piece.w, rows, piece.from);
    let len = piece.to - piece.from;
    let steps = len / LANES;
    let mut inputs = [piece.inputs(c); N];
    let mut near = [&inputs[0].as_chunks::<LANES>().0[..steps]; N];
    let mut acc = [[isa.splat(0.0); N]; R];
    for n in 0..N {
        inputs[n] = piece.inputs(c + n);
        near[n] = &inputs[n].as_chunks().0[..steps];
        for r in 0..R {
            acc[r][n] = isa.load(&kept[r][c + n]);
        }
    }
    for step in 0..steps {
        let mut x = [isa.splat(0.0); N];
        for n in 0..N {
            x[n] = isa.load(&near[n][step]);
        }
        let bytes = step * LANES * F::BYTES..(step + 1) * LANES * F::BYTES;
        let scale = if F::SCALED { scales.step() } else { [1.0; R] };
        for r in 0..R {
            isa.prefetch(ahead[r].wrapping_add(bytes.start));
            let mut weights = F::load(isa, &w[r][bytes.clone()]);
            if F::SCALED {
                weights = isa.mul(weights, isa.splat(scale[r]));
            }
            for n in 0..N {
                acc[r][n] = isa.fma(weights, x[n], acc[r][n]);
            }
        }
    }
    if !len.is_multiple_of(LANES) {
        let scale = if F::SCALED { scales.step() } else { [1.0; R] };
        for r in 0..R {
            let mut last = [0f32; LANES];
            let bytes = w[r][steps * LANES * F::BYTES..].chunks_exact(F::BYTES);
            for (weight, bytes) in last.iter_mut().zip(bytes) {
                *weight = F::to_f32(bytes);
                if F::SCALED {
                    *weight *= scale[r];
                }
            }
            let weights = isa.load(&last);
            for n in 0..N {
                let some = &inputs[n][steps * LANES..];
                let mut last = [0f32; LANES];
                last[..some.len()].copy_from_slice(some);
                acc[r][n] = isa.fma(weights, isa.load(&last), acc[r][n]);
            }
        }
    }
    for r in 0..R {
        for n in 0..N {
            isa.store(acc[r][n], &mut kept[r][c + n]);
        }
    }
}
