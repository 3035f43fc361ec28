//! Matrix products `out[n, r] = sum over k of w[r, k] * x[n, k]`, one contract for every format.
//!
//! Each output is one chain of operations in a fixed order (see [`int`] and [`plain`]); how many rows or
//! columns are worked on at a time, on how many threads and with which instructions does not change a bit.

mod activations;
pub mod int;
mod panel;
pub mod plain;
mod tiles;

pub use activations::{Activations, GROUP};

use crate::block::{DType, FormatVisitor, IntFormat, PlainFormat};
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::threads::{Strip, for_each_strip};
use std::marker::PhantomData;
use tiles::Tile;

/// A row-major matrix of stored blocks: the weights of a linear map from `cols` to `rows` values.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    data: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// Looks at `data` as `rows` rows of `cols` values; `None` when that is not its size.
    pub fn new(dtype: DType, rows: usize, cols: usize, data: &'a [u8]) -> Option<Self> {
        let row = dtype.bytes_for(cols as u64)?;
        let fits = row.checked_mul(rows as u64) == Some(data.len() as u64);
        fits.then_some(Self {
            dtype,
            rows,
            cols,
            data,
        })
    }

    /// Outputs of the map.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of the map.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The blocks of row `r`.
    #[inline]
    pub fn row(&self, r: usize) -> &'a [u8] {
        let bytes = self.data.len() / self.rows;
        &self.data[r * bytes..(r + 1) * bytes]
    }

    /// Dequantizes row `r` to `out`, `cols` long.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        self.dtype.dequantize(self.row(r), out);
    }
}

/// `out[n, r] = w[r, :] . x[n, :]`, on the threads of the current pool.
///
/// # Panics
/// When `out` is not `x.len() * w.rows()` long, or the widths of `w` and `x` differ.
pub fn matmul(level: Level, w: Matrix<'_>, x: &mut Activations, out: &mut [f32]) {
    assert_eq!(w.cols, x.width(), "inputs of the matrix, values of a row of x");
    assert_eq!(
        out.len(),
        w.rows * x.len(),
        "outputs of the matrix times rows of x"
    );
    w.dtype.visit(Product { level, w, x, out });
}

/// A product, to be computed in strips of 16 outputs.
struct Product<'a> {
    level: Level,
    w: Matrix<'a>,
    x: &'a mut Activations,
    out: &'a mut [f32],
}

impl FormatVisitor for Product<'_> {
    type Output = ();

    fn plain<F: PlainFormat>(self) {
        let Self { level, w, x, out } = self;
        for_each_strip(out, w.rows, LANES, |first, strip| {
            level.run(PlainStrip {
                w,
                x,
                first,
                strip,
                format: PhantomData::<F>,
            });
        });
    }

    fn int<F: IntFormat>(self) {
        let Self { level, w, x, out } = self;
        if x.len() < panel::WORTHWHILE {
            for_each_strip(out, w.rows, LANES, |first, strip| {
                level.run(DotStrip {
                    w,
                    x,
                    first,
                    strip,
                    format: PhantomData::<F>,
                });
            });
        } else {
            let tiles = x.tiles::<F>(level.columns());
            for_each_strip(out, w.rows, LANES, |first, strip| {
                level.run(PanelStrip {
                    w,
                    tiles,
                    first,
                    strip,
                    format: PhantomData::<F>,
                });
            });
        }
    }
}

/// Up to 16 outputs of unquantized weights.
struct PlainStrip<'a, F> {
    w: Matrix<'a>,
    x: &'a Activations,
    first: usize,
    strip: Strip<'a>,
    format: PhantomData<F>,
}

impl<F: PlainFormat> Kernel for PlainStrip<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(mut self, isa: S) {
        for l in 0..self.strip.width() {
            let row = self.w.row(self.first + l);
            plain::row::<S, F>(isa, row, self.x, |n, y| self.strip.row(n)[l] = y);
        }
    }
}

/// Up to 16 outputs of quantized weights, row by row.
struct DotStrip<'a, F> {
    w: Matrix<'a>,
    x: &'a Activations,
    first: usize,
    strip: Strip<'a>,
    format: PhantomData<F>,
}

impl<F: IntFormat> Kernel for DotStrip<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(mut self, _: S) {
        for n in 0..self.x.len() {
            for l in 0..self.strip.width() {
                self.strip.row(n)[l] = int::dot::<F>(self.w.row(self.first + l), self.x.row(n));
            }
        }
    }
}

/// Up to 16 outputs of quantized weights, for many rows of activations.
struct PanelStrip<'a, F> {
    w: Matrix<'a>,
    tiles: &'a [Tile],
    first: usize,
    strip: Strip<'a>,
    format: PhantomData<F>,
}

impl<F: IntFormat> Kernel for PanelStrip<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(mut self, isa: S) {
        let row = |l| self.w.row(self.first + l);
        panel::multiply::<S, F>(isa, row, self.w.cols, self.tiles, &mut self.strip);
    }
}
