//! Unquantized weights times many rows of activations.
//!
//! ```text
//! for each block of rows of activations
//!     for each 1024 columns
//!         for each half of the accumulators
//!             unpack 8 rows of weights to f32      once for the block, to stay in the first cache
//!             for each tile of a few rows: add to its accumulators
//!     the sum of each 16 accumulators
//! ```
//!
//! Registers of eight lanes would need two of them for the 16 accumulators of each output, and hold
//! those of six outputs. So accumulators go in *halves* and rows of weights in *pairs*: 16 lanes
//! are accumulators `8 half .. 8 half + 8` of both rows of a pair. Eight activations serve both,
//! and twelve outputs fill the registers, which is as many as it takes to multiply faster than
//! weights and activations are loaded.

use super::onward::onward;
use super::walk::Walk;
use crate::block::PlainFormat;
use crate::isa::{Isa, Kernel, LANES};
use crate::matmul::at_width::TileKernel;
use crate::matmul::matrix::Matrix;
use crate::matmul::tiling::{Run, Tiling, of_tile};
use crate::matmul::tuning::{NC, PLAIN_KC as KC, PLAIN_MR as MR};
use crate::threads::{Strip, for_each_piece};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// Accumulators of a half.
const HALF: usize = LANES / 2;
/// Pairs of rows in a panel.
const PAIRS: usize = MR / 2;
/// Steps of 16 columns in a panel.
const STEPS: usize = KC / LANES;

/// Up to `KC` columns of `MR` rows of weights in f32: those that half of the accumulators take.
#[repr(align(64))]
pub(in crate::matmul) struct WeightPanel {
    /// `[pair][step][row of the pair][accumulator of the half]`
    w: [[[f32; LANES]; STEPS]; PAIRS],
    half: usize,
    /// The first column.
    first: usize,
    /// Columns.
    width: usize,
}

impl WeightPanel {
    /// Without columns.
    const fn new() -> Self {
        Self {
            w: [[[0.0; LANES]; STEPS]; PAIRS],
            half: 0,
            first: 0,
            width: 0,
        }
    }
}

/// Accumulators of `MR` rows of weights and a block of activations, between two panels.
#[repr(align(64))]
pub(in crate::matmul) struct Accumulators {
    /// `[half][pair][row of activations][row of the pair][accumulator of the half]`
    halves: [[[[f32; LANES]; NC]; PAIRS]; 2],
}

/// What a thread works in.
pub(in crate::matmul) struct Workspace {
    pub(in crate::matmul) panel: WeightPanel,
    pub(in crate::matmul) acc: Accumulators,
}

thread_local! {
    /// The workspace of this thread: every task finds what the last one left.
    pub(in crate::matmul) static WORKSPACE: RefCell<Box<Workspace>> = RefCell::new(Box::new(Workspace {
        panel: WeightPanel::new(),
        acc: Accumulators {
            halves: [[[[0.0; LANES]; NC]; PAIRS]; 2],
        },
    }));
}

/// Unpacks the panel of the rows of `w` from `row` on and the columns from `first` on.
pub(in crate::matmul) struct Unpack<'a, F> {
    pub(in crate::matmul) w: Matrix<'a>,
    pub(in crate::matmul) row: usize,
    /// Rows of weights.
    pub(in crate::matmul) rows: usize,
    /// Which of the accumulators they are for.
    pub(in crate::matmul) half: usize,
    /// The first column.
    pub(in crate::matmul) first: usize,
    pub(in crate::matmul) panel: &'a mut WeightPanel,
    pub(in crate::matmul) format: PhantomData<F>,
}

impl<F: PlainFormat> Kernel for Unpack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let Self { w, rows, panel, .. } = self;
        (panel.half, panel.first) = (self.half, self.first);
        panel.width = (w.cols() - self.first).min(KC);
        let columns = self.first * F::BYTES..(self.first + panel.width) * F::BYTES;
        let half = HALF * F::BYTES;
        for (pair, steps) in panel.w.iter_mut().enumerate() {
            // What the rows do not have is multiplied too, and not written.
            let two = [2 * pair, 2 * pair + 1].map(|r| self.row + r.min(rows - 1));
            let mut scales = Walk::new::<F>(w, two, self.first);
            let [a, b] = two.map(|r| w.row(r));
            let next =
                [2 * pair, 2 * pair + 1].map(|r| onward::<F>(w, self.row, MR, r, self.first + KC));
            let (a, b) = (&a[columns.clone()], &b[columns.clone()]);
            for (step, values) in steps.iter_mut().enumerate().take(panel.width.div_ceil(LANES)) {
                let from = (step * LANES + self.half * HALF) * F::BYTES;
                if self.half == 0 {
                    for next in next {
                        isa.prefetch(next.wrapping_add(from));
                    }
                }
                let scale = if F::SCALED { scales.step() } else { [1.0; 2] };
                if from + half <= a.len() {
                    let mut bytes = [0; LANES * size_of::<f32>()];
                    bytes[..half].copy_from_slice(&a[from..from + half]);
                    bytes[half..2 * half].copy_from_slice(&b[from..from + half]);
                    let mut weights = F::load(isa, &bytes[..2 * half]);
                    if F::SCALED {
                        let mut scales = [scale[0]; LANES];
                        scales[HALF..].fill(scale[1]);
                        weights = isa.mul(weights, isa.load(&scales));
                    }
                    isa.store(weights, values);
                } else {
                    *values = [0.0; LANES];
                    let rows = [(a, scale[0]), (b, scale[1])].into_iter();
                    for ((row, scale), values) in rows.zip(values.as_chunks_mut::<HALF>().0) {
                        let some = row[from.min(row.len())..].chunks_exact(F::BYTES);
                        for (value, bytes) in values.iter_mut().zip(some) {
                            *value = F::to_f32(bytes);
                            if F::SCALED {
                                *value *= scale;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rows of activations in a tile, at most: with eight or four rows of weights, accumulators fill
/// the registers.
const fn nr<S: Isa>() -> usize {
    if S::MANY_ACCUMULATORS { 6 } else { 3 }
}

/// [`nr`] of a level.
pub(in crate::matmul) struct Nr;

impl Kernel for Nr {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> usize {
        nr::<S>()
    }
}

/// Packed rows of activations. What a kernel reads lies side by side.
#[derive(Default)]
pub(in crate::matmul) struct PackedActivations {
    /// `[KC columns][half][tile][step][row of the tile][accumulator of the half]`; the last columns
    /// are filled up with zeros.
    values: Vec<f32>,
    /// Without rows when there is nothing here.
    tiling: Tiling,
}

impl PackedActivations {
    /// Forgets the rows, and keeps the memory.
    pub(in crate::matmul) fn clear(&mut self) {
        self.tiling = Tiling::default();
    }

    /// Packs the rows of a tiling, each `width` long, unless they are packed already.
    pub(in crate::matmul) fn pack(&mut self, tiling: Tiling, x: &[f32], width: usize) {
        if self.tiling == tiling {
            return;
        }
        self.tiling = tiling;
        let half = x.len() / width * STEPS * HALF;
        self.values.resize(width.div_ceil(KC) * 2 * half, 0.0);
        for_each_piece(&mut self.values, half, |i, values| {
            let (columns, half) = (i / 2, i % 2);
            for t in 0..tiling.tiles() {
                let rows = tiling.rows(&(t..t + 1));
                let tile = &mut values[rows.start * STEPS * HALF..rows.end * STEPS * HALF];
                for (c, row) in rows.clone().enumerate() {
                    let row = &x[row * width..][..width];
                    let row = &row[columns * KC..width.min((columns + 1) * KC)];
                    pack_row(row, half, c, rows.len(), tile);
                }
            }
        });
    }

    /// The part of tile `t` that is multiplied with a panel.
    fn tile(&self, t: usize, panel: &WeightPanel) -> &[f32] {
        let all = self.tiling.rows(&(0..self.tiling.tiles())).len();
        let before = (panel.first / KC * 2 + panel.half) * all;
        let rows = self.tiling.rows(&(t..t + 1));
        &self.values[(before + rows.start) * STEPS * HALF..(before + rows.end) * STEPS * HALF]
    }
}

/// Packs what half of the accumulators take of some columns of a row into column `c` of a tile of
/// `width` rows.
fn pack_row(row: &[f32], half: usize, c: usize, width: usize, tile: &mut [f32]) {
    let packed = tile.as_chunks_mut::<HALF>().0.iter_mut().skip(c).step_by(width);
    for (step, packed) in packed.enumerate() {
        let from = step * LANES + half * HALF;
        let some = &row[from.min(row.len())..(from + HALF).min(row.len())];
        *packed = [0.0; HALF];
        packed[..some.len()].copy_from_slice(some);
    }
}

/// Adds the products of a panel with neighbouring tiles of one width.
pub(in crate::matmul) struct PanelKernel<'a> {
    pub(in crate::matmul) panel: &'a WeightPanel,
    pub(in crate::matmul) packed: &'a PackedActivations,
    pub(in crate::matmul) run: Run,
    pub(in crate::matmul) acc: &'a mut Accumulators,
}

impl TileKernel for PanelKernel<'_> {
    #[inline(always)]
    fn widest<S: Isa>() -> usize {
        nr::<S>()
    }

    #[inline(always)]
    fn call<S: Isa, const N: usize>(self, isa: S) {
        let Self { panel, packed, .. } = self;
        let (w, acc) = (&panel.w, &mut self.acc.halves[panel.half]);
        let (steps, begin) = (panel.width.div_ceil(LANES), panel.first == 0);
        for t in self.run.tiles {
            let at = packed.tiling.start(t) - self.run.first_row;
            let x = packed.tile(t, panel);
            let mut next = x.as_ptr_range().end;
            let x = &x.as_chunks::<HALF>().0.as_chunks::<N>().0.as_chunks::<STEPS>().0[0];
            if S::MANY_ACCUMULATORS {
                tile(isa, w, &x[..steps], begin, next, at, acc);
            } else {
                for (w, acc) in w.as_chunks::<2>().0.iter().zip(acc.as_chunks_mut::<2>().0) {
                    next = tile(isa, w, &x[..steps], begin, next, at, acc);
                }
            }
        }
    }
}

/// Adds the products of `P` pairs of rows of weights with `N` rows of activations to half of their
/// accumulators. Asks for a part of the next tile, at `next`, and gives the place of the part after
/// that.
#[inline(always)]
fn tile<S: Isa, const P: usize, const N: usize>(
    isa: S,
    w: &[[[f32; LANES]; STEPS]; P],
    x: &[[[f32; HALF]; N]],
    begin: bool,
    next: *const f32,
    at: usize,
    kept: &mut [[[f32; LANES]; NC]; P],
) -> *const f32 {
    // As many cache lines for each of the `PAIRS / P` parts, and no branch in the loop for asking
    // once too often.
    let lines = N * P * STEPS * HALF / (PAIRS * LANES);
    let at_a_time = lines.div_ceil(STEPS);
    let kept = kept.each_mut().map(|rows| of_tile::<N>(rows, at));
    let mut acc = [[isa.splat(0.0); N]; P];
    if !begin {
        for p in 0..P {
            for c in 0..N {
                acc[p][c] = isa.load(&kept[p][c]);
            }
        }
    }
    for step in 0..x.len().min(STEPS) {
        let mut inputs = [isa.splat(0.0); N];
        for c in 0..N {
            inputs[c] = isa.broadcast_half(&x[step][c]);
        }
        for line in 0..at_a_time {
            isa.prefetch(next.wrapping_add((step * at_a_time + line) * LANES).cast());
        }
        for p in 0..P {
            isa.fma_all(&w[p][step], &inputs, &mut acc[p]);
        }
    }
    for p in 0..P {
        for c in 0..N {
            isa.store(acc[p][c], &mut kept[p][c]);
        }
    }
    next.wrapping_add(lines * LANES)
}

/// Writes the outputs of a strip for the rows of a block.
pub(in crate::matmul) struct HorizontalSums<'a, 's> {
    pub(in crate::matmul) acc: &'a Accumulators,
    pub(in crate::matmul) rows: Range<usize>,
    pub(in crate::matmul) out: &'a mut Strip<'s>,
}

impl Kernel for HorizontalSums<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        for (c, row) in self.rows.enumerate() {
            for (r, y) in self.out.row(row).iter_mut().enumerate() {
                let mut all = [0f32; LANES];
                for (half, some) in all.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
                    some.copy_from_slice(&self.acc.halves[half][r / 2][c][r % 2 * HALF..][..HALF]);
                }
                *y = isa.reduce_sum(isa.load(&all));
            }
        }
    }
}
