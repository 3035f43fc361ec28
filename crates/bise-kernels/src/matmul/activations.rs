//! The inputs of a matrix product: f32 rows, and the same rows quantized to 8 bits.

use super::packed::{PackedActivations, PackedTile, Packing};
use super::plain::panel;
use super::quantized::{GROUP, Quantize, QuantizedRow};
use super::tiling::Tiling;
use super::tuning;
use crate::isa::Level;
use crate::threads::for_each_piece;
use rayon::prelude::*;

/// Rows of `width` inputs, each kept as f32 and, in groups of 32, as `x ~ d * q`:
///
/// ```text
/// amax = max |x|
/// d    = amax / 127
/// q    = round_ties_even(x * (127 / amax)), 0 when 127 / amax is infinite
/// ```
///
/// A group in which something is no number, or infinite, has NaN for `d`, and so has every product
/// with it.
///
/// Beside them stand `d * sum(q)` of each 32 and of each 16, which formats with minima multiply.
/// The last group is filled up with zeros.
///
/// They belong to one [`Level`], at which they are quantized, packed for the kernels, and
/// multiplied. What is kept here is the same at every level, but for how rows are packed.
pub struct Activations {
    level: Level,
    width: usize,
    x: Vec<f32>,
    q: Vec<i8>,
    d: Vec<f32>,
    sum32: Vec<f32>,
    sum16: Vec<f32>,
    packed: PackedActivations,
    plain_packed: panel::PackedActivations,
}

impl Activations {
    /// No rows, but room for `rows` of `width` values, so that [`set`](Self::set) within that
    /// allocates nothing. Their products are computed at `level`.
    pub fn with_capacity(level: Level, rows: usize, width: usize) -> Self {
        let groups = rows * width.div_ceil(GROUP);
        Self {
            level,
            width,
            x: Vec::with_capacity(rows * width),
            q: Vec::with_capacity(groups * GROUP),
            d: Vec::with_capacity(groups),
            sum32: Vec::with_capacity(groups),
            sum16: Vec::with_capacity(2 * groups),
            packed: PackedActivations::default(),
            plain_packed: panel::PackedActivations::default(),
        }
    }

    /// Bytes that a row of `width` values takes: f32, integers with their scales and sums, and the
    /// packed copies that meet quantized weights and, if there are such, unquantized ones.
    pub fn row_bytes(width: usize, unquantized: bool) -> u64 {
        let integers = width.next_multiple_of(GROUP) as u64;
        let panels = if unquantized {
            width.next_multiple_of(tuning::PLAIN_KC)
        } else {
            0
        };
        4 * width as u64 + 2 * integers * 3 / 2 + 4 * panels as u64
    }

    /// The level of all products with these rows.
    pub fn level(&self) -> Level {
        self.level
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

    /// Packs the quantized rows, unless they are packed already.
    pub(super) fn pack(&mut self, tiling: Tiling, packing: Packing) {
        let mut packed = std::mem::take(&mut self.packed);
        packed.pack(self.level, tiling, packing, |n| self.row(n));
        self.packed = packed;
    }

    /// The quantized rows as they were packed last.
    pub(super) fn packed(&self) -> &[PackedTile] {
        self.packed.tiles()
    }

    /// Packs the f32 rows, unless they are packed already.
    pub(super) fn pack_plain(&mut self, tiling: Tiling) {
        self.plain_packed.pack(tiling, &self.x, self.width);
    }

    /// The f32 rows as they were packed.
    pub(super) fn plain_packed(&self) -> &panel::PackedActivations {
        &self.plain_packed
    }

    /// Holds the rows of `x`, each `width` long, and nothing else.
    ///
    /// # Panics
    /// When `x` is not whole rows.
    pub fn set(&mut self, x: &[f32], width: usize) {
        assert!(x.len().is_multiple_of(width));
        self.fill(x.len() / width, width, |n, row| {
            row.copy_from_slice(&x[n * width..][..width]);
        });
    }

    /// Holds `rows` rows of `width` values and nothing else: those that `write(n, row)` writes, on
    /// all threads. A row is quantized while it is still near.
    pub fn fill(&mut self, rows: usize, width: usize, write: impl Fn(usize, &mut [f32]) + Sync) {
        self.resize(width, rows);
        let level = self.level;
        let groups = width.div_ceil(GROUP);
        let integers = self
            .q
            .par_chunks_mut(groups * GROUP)
            .zip(self.d.par_chunks_mut(groups));
        let sums = self
            .sum32
            .par_chunks_mut(groups)
            .zip(self.sum16.par_chunks_mut(2 * groups));
        let rows = self.x.par_chunks_mut(width).zip(integers.zip(sums));
        rows.enumerate().for_each(|(n, (x, ((q, d), (sum32, sum16))))| {
            write(n, x);
            level.run(Quantize {
                x,
                q,
                d,
                sum32,
                sum16,
            })
        });
    }

    /// Holds the rows of `other` that `rows` names, in that order, and nothing else. `other` may be
    /// of another level: its rows are quantized to the same bits, and are packed anew.
    ///
    /// # Panics
    /// When `other` has no such row.
    pub fn gather(&mut self, other: &Self, rows: &[u32]) {
        self.resize(other.width, rows.len());
        fn copy<T: Copy + Send + Sync>(to: &mut [T], from: &[T], rows: &[u32]) {
            let len = to.len() / rows.len().max(1);
            for_each_piece(to, len.max(1), |i, to| {
                to.copy_from_slice(&from[rows[i] as usize * len..][..len]);
            });
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
        self.packed.clear();
        self.plain_packed.clear();
        self.x.resize(rows * width, 0.0);
        self.q.resize(groups * GROUP, 0);
        self.d.resize(groups, 0.0);
        self.sum32.resize(groups, 0.0);
        self.sum16.resize(2 * groups, 0.0);
    }
}
