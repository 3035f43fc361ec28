//! Unquantized weights times many rows of activations.
//!
//! ```text
//! for each block of rows of activations
//!     for each stretch of 1024 columns
//!         for each half of the chains
//!             unpack 8 rows of weights to a panel of f32        once for the block, to stay in the first cache
//!             for each tile of a few rows: go on with its chains
//!     the tree of each 16 chains
//! ```
//!
//! Registers of eight lanes would need two sums for the 16 chains of each output, and hold the sums of six outputs. So chains
//! go in *halves* and rows of weights in *pairs*: 16 lanes are chains `8 half .. 8 half + 8` of both rows of a pair. Eight
//! activations serve both, and the sums of twelve outputs fill the registers, which is as many as it takes to multiply
//! faster than weights and activations are loaded.

use crate::block::PlainFormat;
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::matmul::Matrix;
use crate::matmul::at_width::TileKernel;
use crate::matmul::cut::{Cut, of_tile};
use crate::matmul::plain::onward;
use crate::threads::{Strip, for_each_piece};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// Chains of a half.
const HALF: usize = LANES / 2;
/// Pairs of rows in a strip.
const PAIRS: usize = 4;
/// Rows of weights in a strip.
pub(crate) const ROWS: usize = 2 * PAIRS;
/// Links of each chain in a stretch.
const LINKS: usize = 64;
/// Columns of a stretch.
pub(crate) const STRETCH: usize = LINKS * LANES;
/// Rows of activations in a block, at most.
const BLOCK: usize = 528;
/// Activations in a block, at most: all of them are read again for each strip, and ought to come from a cache.
const NEAR: usize = 10 << 18;

/// Rows of activations, `width` long, that make a block at most.
pub(crate) fn block_rows(width: usize) -> usize {
    (NEAR / width).clamp(LANES, BLOCK)
}

/// What is unpacked of rows of `cols` columns one after the other: the first column of each stretch, and both halves of its chains.
pub(crate) fn parts(cols: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..cols)
        .step_by(STRETCH)
        .flat_map(|first| [(first, 0), (first, 1)])
}

/// Half of the chains of a strip, as far as a stretch goes.
#[repr(align(64))]
pub(crate) struct Panel {
    /// `[pair][link][row of the pair][chain of the half]`
    w: [[[f32; LANES]; LINKS]; PAIRS],
    half: usize,
    /// The first column.
    first: usize,
    /// Columns.
    width: usize,
}

impl Panel {
    /// Without columns.
    pub(crate) fn new() -> Self {
        Self {
            w: [[[0.0; LANES]; LINKS]; PAIRS],
            half: 0,
            first: 0,
            width: 0,
        }
    }
}

/// Chains of a strip and a block, between two stretches.
#[repr(align(64))]
pub(crate) struct Sums {
    /// `[half][pair][row of activations][row of the pair][chain of the half]`
    acc: [[[[f32; LANES]; BLOCK]; PAIRS]; 2],
}

impl Sums {
    /// Without links.
    pub(crate) fn new() -> Self {
        Self {
            acc: [[[[0.0; LANES]; BLOCK]; PAIRS]; 2],
        }
    }
}

thread_local! {
    /// Where a thread works: every strip finds what the last one left.
    pub(crate) static ROOM: RefCell<(Box<Panel>, Box<Sums>)> =
        RefCell::new((Box::new(Panel::new()), Box::new(Sums::new())));
}

/// Unpacks half of the chains of the rows of `w` from `row` on, as far as a stretch goes.
pub(crate) struct Unpack<'a, F> {
    pub(crate) w: Matrix<'a>,
    pub(crate) row: usize,
    /// Rows of the strip.
    pub(crate) rows: usize,
    pub(crate) half: usize,
    /// The first column.
    pub(crate) first: usize,
    pub(crate) panel: &'a mut Panel,
    pub(crate) format: PhantomData<F>,
}

impl<F: PlainFormat> Kernel for Unpack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let Self { w, rows, panel, .. } = self;
        (panel.half, panel.first) = (self.half, self.first);
        panel.width = (w.cols() - self.first).min(STRETCH);
        let columns = self.first * F::BYTES..(self.first + panel.width) * F::BYTES;
        let half = HALF * F::BYTES;
        for (pair, links) in panel.w.iter_mut().enumerate() {
            // What the rows do not have is multiplied too, and not written.
            let [a, b] = [2 * pair, 2 * pair + 1].map(|r| w.row(self.row + r.min(rows - 1)));
            let next =
                [2 * pair, 2 * pair + 1].map(|r| onward::<F>(w, self.row, ROWS, r, self.first + STRETCH));
            let (a, b) = (&a[columns.clone()], &b[columns.clone()]);
            for (link, values) in links.iter_mut().enumerate().take(panel.width.div_ceil(LANES)) {
                let from = (link * LANES + self.half * HALF) * F::BYTES;
                if self.half == 0 {
                    for next in next {
                        isa.prefetch(next.wrapping_add(from));
                    }
                }
                if from + half <= a.len() {
                    let mut bytes = [0; LANES * size_of::<f32>()];
                    bytes[..half].copy_from_slice(&a[from..from + half]);
                    bytes[half..2 * half].copy_from_slice(&b[from..from + half]);
                    isa.store(F::load(isa, &bytes[..2 * half]), values);
                } else {
                    *values = [0.0; LANES];
                    for (row, values) in [a, b].into_iter().zip(values.as_chunks_mut::<HALF>().0) {
                        let some = row[from.min(row.len())..].chunks_exact(F::BYTES);
                        for (value, bytes) in values.iter_mut().zip(some) {
                            *value = F::to_f32(bytes);
                        }
                    }
                }
            }
        }
    }
}

/// How many rows of activations a tile has at most: with eight or four rows of weights, sums fill the registers.
pub(super) const fn most<S: Isa>() -> usize {
    if S::REGISTERS >= 32 { 6 } else { 3 }
}

/// [`most`] of a level.
struct Most;

impl Kernel for Most {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> usize {
        most::<S>()
    }
}

/// Rows of activations in tiles. What a kernel reads lies side by side.
#[derive(Default)]
pub(crate) struct Tiles {
    /// `[stretch][half][tile][link][row of the tile][chain of the half]`; the last stretch is filled up with zeros.
    values: Vec<f32>,
    /// Without rows when there is nothing here.
    pub(crate) cut: Cut,
}

impl Tiles {
    /// Forgets the rows, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.cut = Cut::default();
    }

    /// Makes the tiles of rows that are each `width` long, for the kernels of `level`, unless they are there already.
    pub(crate) fn make(&mut self, level: Level, x: &[f32], width: usize) {
        if self.cut.tiles() > 0 {
            return;
        }
        let cut = Cut::new(x.len() / width, level.run(Most));
        self.cut = cut;
        let half = x.len() / width * LINKS * HALF;
        self.values.resize(width.div_ceil(STRETCH) * 2 * half, 0.0);
        for_each_piece(&mut self.values, half, |i, values| {
            let (stretch, half) = (i / 2, i % 2);
            for t in 0..cut.tiles() {
                let rows = cut.rows(&(t..t + 1));
                let tile = &mut values[rows.start * LINKS * HALF..rows.end * LINKS * HALF];
                for (c, row) in rows.clone().enumerate() {
                    let row = &x[row * width..][..width];
                    let row = &row[stretch * STRETCH..width.min((stretch + 1) * STRETCH)];
                    lay(row, half, c, rows.len(), tile);
                }
            }
        });
    }

    /// What meets a panel of tile `t`.
    fn tile(&self, t: usize, panel: &Panel) -> &[f32] {
        let before = (panel.first / STRETCH * 2 + panel.half) * self.cut.rows(&(0..self.cut.tiles())).len();
        let rows = self.cut.rows(&(t..t + 1));
        &self.values[(before + rows.start) * LINKS * HALF..(before + rows.end) * LINKS * HALF]
    }
}

/// Lays half of the chains of a stretch of a row into column `c` of a tile of `width` rows.
fn lay(row: &[f32], half: usize, c: usize, width: usize, tile: &mut [f32]) {
    let chains = tile.as_chunks_mut::<HALF>().0.iter_mut().skip(c).step_by(width);
    for (link, chains) in chains.enumerate() {
        let from = link * LANES + half * HALF;
        let some = &row[from.min(row.len())..(from + HALF).min(row.len())];
        *chains = [0.0; HALF];
        chains[..some.len()].copy_from_slice(some);
    }
}

/// Goes on with the chains of a panel and of neighbouring tiles of one width.
pub(crate) struct PanelTiles<'a> {
    pub(crate) panel: &'a Panel,
    pub(crate) tiles: &'a Tiles,
    pub(crate) run: Range<usize>,
    /// The first row of the block.
    pub(crate) first: usize,
    pub(crate) sums: &'a mut Sums,
}

impl TileKernel for PanelTiles<'_> {
    #[inline(always)]
    fn widest<S: Isa>() -> usize {
        most::<S>()
    }

    #[inline(always)]
    fn call<S: Isa, const N: usize>(self, isa: S) {
        let Self { panel, tiles, .. } = self;
        let (w, sums) = (&panel.w, &mut self.sums.acc[panel.half]);
        // Chains begin in the first stretch.
        let (links, begin) = (panel.width.div_ceil(LANES), panel.first == 0);
        for t in self.run {
            let at = tiles.cut.start(t) - self.first;
            let x = tiles.tile(t, panel);
            let mut next = x.as_ptr_range().end;
            let x = &x.as_chunks::<HALF>().0.as_chunks::<N>().0.as_chunks::<LINKS>().0[0];
            if S::REGISTERS >= 32 {
                tile(isa, w, &x[..links], begin, next, at, sums);
            } else {
                for (w, sums) in w.as_chunks::<2>().0.iter().zip(sums.as_chunks_mut::<2>().0) {
                    next = tile(isa, w, &x[..links], begin, next, at, sums);
                }
            }
        }
    }
}

/// Goes on with half of the chains of `P` pairs of rows of weights and `N` rows of activations. Asks for a part of the next tile,
/// at `next`, and gives the place of the part after that.
#[inline(always)]
fn tile<S: Isa, const P: usize, const N: usize>(
    isa: S,
    w: &[[[f32; LANES]; LINKS]; P],
    x: &[[[f32; HALF]; N]],
    begin: bool,
    next: *const f32,
    at: usize,
    sums: &mut [[[f32; LANES]; BLOCK]; P],
) -> *const f32 {
    // As many cache lines for each of the `PAIRS / P` parts, and no branch in the loop for asking once too often.
    let lines = N * P * LINKS * HALF / (PAIRS * LANES);
    let at_a_time = lines.div_ceil(LINKS);
    let sums = sums.each_mut().map(|rows| of_tile::<N>(rows, at));
    let mut acc = [[isa.splat(0.0); N]; P];
    if !begin {
        for p in 0..P {
            for c in 0..N {
                acc[p][c] = isa.load(&sums[p][c]);
            }
        }
    }
    for link in 0..x.len().min(LINKS) {
        let mut inputs = [isa.splat(0.0); N];
        for c in 0..N {
            inputs[c] = isa.load_twice(&x[link][c]);
        }
        for line in 0..at_a_time {
            isa.prefetch(next.wrapping_add((link * at_a_time + line) * LANES).cast());
        }
        for p in 0..P {
            isa.fma_all(&w[p][link], &inputs, &mut acc[p]);
        }
    }
    for p in 0..P {
        for c in 0..N {
            isa.store(acc[p][c], &mut sums[p][c]);
        }
    }
    next.wrapping_add(lines * LANES)
}

/// Writes the outputs of a strip for the rows of a block.
pub(crate) struct Trees<'a, 's> {
    pub(crate) sums: &'a Sums,
    pub(crate) rows: Range<usize>,
    pub(crate) strip: &'a mut Strip<'s>,
}

impl Kernel for Trees<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        for (c, row) in self.rows.enumerate() {
            for (r, y) in self.strip.row(row).iter_mut().enumerate() {
                let mut chains = [0f32; LANES];
                for (half, chains) in chains.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
                    chains.copy_from_slice(&self.sums.acc[half][r / 2][c][r % 2 * HALF..][..HALF]);
                }
                *y = isa.sum(isa.load(&chains));
            }
        }
    }
}
