//! The inputs of a matrix product: f32 rows, and the same rows quantized to 8 bits.

use super::plain::panel;
use super::tiles::{Needs, Tile, Tiles};
use crate::isa::{Isa, Kernel, Level};
use rayon::prelude::*;

/// Values of a row that share a scale.
pub const GROUP: usize = 32;

/// Rows of `width` inputs, each kept as f32 and, in groups of 32, as `x ~ d * q`:
///
/// ```text
/// amax = max |x|    d = amax / 127    q = round_ties_even(x * (127 / amax)), 0 when amax is 0
/// ```
///
/// Beside them stand `d * sum(q)` of each 32 and of each 16, which formats with minima multiply. The last
/// group is filled up with zeros.
#[derive(Default)]
pub struct Activations {
    width: usize,
    x: Vec<f32>,
    q: Vec<i8>,
    d: Vec<f32>,
    sum32: Vec<f32>,
    sum16: Vec<f32>,
    tiles: Tiles,
    panel_tiles: panel::Tiles,
}

/// One quantized row of [`Activations`].
#[derive(Clone, Copy)]
pub(super) struct QuantizedRow<'a> {
    /// Integers, a whole number of groups.
    pub q: &'a [i8],
    /// Scale of each group.
    pub d: &'a [f32],
    sum32: &'a [f32],
    sum16: &'a [f32],
}

impl<'a> QuantizedRow<'a> {
    /// `d * sum(q)` of each `group` (16 or 32) values.
    #[inline(always)]
    pub fn sums(&self, group: usize) -> &'a [f32] {
        if group == GROUP { self.sum32 } else { self.sum16 }
    }
}

impl Activations {
    /// No rows, but room for `rows` of `width` values, so that [`set`](Self::set) within that allocates nothing.
    pub fn with_capacity(rows: usize, width: usize) -> Self {
        let groups = rows * width.div_ceil(GROUP);
        Self {
            width,
            x: Vec::with_capacity(rows * width),
            q: Vec::with_capacity(groups * GROUP),
            d: Vec::with_capacity(groups),
            sum32: Vec::with_capacity(groups),
            sum16: Vec::with_capacity(2 * groups),
            tiles: Tiles::default(),
            panel_tiles: panel::Tiles::default(),
        }
    }

    /// Bytes that a row of `width` values takes: f32, integers with their scales and sums, and the tiles in which many rows meet
    /// quantized weights or, if there are such, unquantized ones.
    pub fn row_bytes(width: usize, unquantized: bool) -> u64 {
        let integers = width.next_multiple_of(GROUP) as u64;
        let panels = if unquantized {
            width.next_multiple_of(panel::STRETCH)
        } else {
            0
        };
        4 * width as u64 + 2 * integers * 3 / 2 + 4 * panels as u64
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.x.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.x.is_empty()
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All rows in f32, one after the other: `[len, width]`.
    pub fn values(&self) -> &[f32] {
        &self.x
    }

    /// Row `n` in f32.
    #[inline(always)]
    pub(super) fn f32_row(&self, n: usize) -> &[f32] {
        &self.x[n * self.width..(n + 1) * self.width]
    }

    /// Row `n`, quantized.
    #[inline(always)]
    pub(super) fn row(&self, n: usize) -> QuantizedRow<'_> {
        let groups = self.width.div_ceil(GROUP);
        QuantizedRow {
            q: &self.q[n * groups * GROUP..(n + 1) * groups * GROUP],
            d: &self.d[n * groups..(n + 1) * groups],
            sum32: &self.sum32[n * groups..(n + 1) * groups],
            sum16: &self.sum16[2 * n * groups..2 * (n + 1) * groups],
        }
    }

    /// The rows in tiles for the kernels of `level`, for weights with these `needs`.
    pub(super) fn tiles(&mut self, level: Level, needs: Needs) -> &[Tile] {
        let mut tiles = std::mem::take(&mut self.tiles);
        tiles.make(level, needs, self.len(), |n| self.row(n));
        self.tiles = tiles;
        self.tiles.all()
    }

    /// The f32 rows in tiles for the kernels of `level`.
    pub(super) fn panel_tiles(&mut self, level: Level) -> &panel::Tiles {
        self.panel_tiles.make(level, &self.x, self.width);
        &self.panel_tiles
    }

    /// Holds the rows of `x`, each `width` long, and nothing else.
    ///
    /// # Panics
    /// When `x` is not whole rows.
    pub fn set(&mut self, level: Level, x: &[f32], width: usize) {
        self.resize(width, x.len() / width);
        self.x.copy_from_slice(x);
        let groups = width.div_ceil(GROUP);
        let integers = self
            .q
            .par_chunks_mut(groups * GROUP)
            .zip(self.d.par_chunks_mut(groups));
        let sums = self
            .sum32
            .par_chunks_mut(groups)
            .zip(self.sum16.par_chunks_mut(2 * groups));
        let rows = self.x.par_chunks(width).zip(integers.zip(sums));
        rows.for_each(|(x, ((q, d), (sum32, sum16)))| {
            level.run(Quantize {
                x,
                q,
                d,
                sum32,
                sum16,
            })
        });
    }

    /// Holds the rows of `other` that `rows` names, in that order, and nothing else.
    pub fn gather(&mut self, other: &Self, rows: &[u32]) {
        self.resize(other.width, rows.len());
        fn copy<T: Copy>(to: &mut [T], from: &[T], rows: &[u32]) {
            let len = to.len() / rows.len().max(1);
            for (to, &r) in to.chunks_exact_mut(len.max(1)).zip(rows) {
                to.copy_from_slice(&from[r as usize * len..][..len]);
            }
        }
        copy(&mut self.x, &other.x, rows);
        copy(&mut self.q, &other.q, rows);
        copy(&mut self.d, &other.d, rows);
        copy(&mut self.sum32, &other.sum32, rows);
        copy(&mut self.sum16, &other.sum16, rows);
    }

    fn resize(&mut self, width: usize, rows: usize) {
        let groups = rows * width.div_ceil(GROUP);
        self.width = width;
        self.tiles.clear();
        self.panel_tiles.clear();
        self.x.resize(rows * width, 0.0);
        self.q.resize(groups * GROUP, 0);
        self.d.resize(groups, 0.0);
        self.sum32.resize(groups, 0.0);
        self.sum16.resize(2 * groups, 0.0);
    }
}

/// Quantizes one row.
struct Quantize<'a> {
    x: &'a [f32],
    q: &'a mut [i8],
    d: &'a mut [f32],
    sum32: &'a mut [f32],
    sum16: &'a mut [f32],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        for (g, x) in self.x.chunks(GROUP).enumerate() {
            let mut group = [0f32; GROUP];
            group[..x.len()].copy_from_slice(x);
            let (d, q) = quantize_group(&group);
            let mut sums = [0i32; 2];
            for i in 0..GROUP {
                sums[i / 16] += i32::from(q[i]);
            }
            self.q[g * GROUP..][..GROUP].copy_from_slice(&q);
            self.d[g] = d;
            self.sum32[g] = d * (sums[0] + sums[1]) as f32;
            self.sum16[2 * g] = d * sums[0] as f32;
            self.sum16[2 * g + 1] = d * sums[1] as f32;
        }
    }
}

#[inline(always)]
fn quantize_group(x: &[f32; GROUP]) -> (f32, [i8; GROUP]) {
    // From 2^23 on floats are the integers: the sum is rounded to one, ties to even, and its last bits are that integer's.
    const INTEGERS: f32 = 12_582_912.0;
    let mut most = [0f32; 8];
    for i in 0..GROUP {
        let v = x[i].abs();
        most[i % 8] = if v > most[i % 8] { v } else { most[i % 8] };
    }
    let mut amax = most[0];
    for m in most {
        amax = if m > amax { m } else { amax };
    }
    let inverse = if amax == 0.0 { 0.0 } else { 127.0 / amax };
    let mut q = [0i8; GROUP];
    for i in 0..GROUP {
        q[i] = (x[i] * inverse + INTEGERS).to_bits() as i8;
    }
    (amax / 127.0, q)
}
