//! Matrix products `out[n, r] = sum over k of w[r, k] * x[n, k]`, one contract for every format.
//!
//! Each output is accumulated in a fixed order (see [`int`] and [`plain`]); how many rows or
//! columns are worked on at a time, on how many threads and with which instructions does not change
//! a bit.
//!
//! A matrix times few rows of activations is a *gemv*, times many a *gemm*: `microkernel` has the
//! loops of both, and `tuning` the sizes of their parts.

mod activations;
mod at_width;
mod codebook;
pub mod int;
mod interleaved;
mod lanes;
mod microkernel;
mod packed;
pub mod plain;
mod planes;
mod tiling;
mod tuning;
mod weight_panel;
mod weights;

pub use activations::{Activations, GROUP};
pub use weights::Weights;

use crate::block::{CodebookFormat, DType, FormatVisitor, IntFormat, PlainFormat};
use crate::tensor::RowOrder;
use codebook::CodebookRows;
use interleaved::Interleaved;
use lanes::{Int16Lanes, StoredWeights};
use microkernel::multiply;
use plain::Plain16Lanes;
use std::marker::PhantomData;
use weights::Layout;

/// A row-major matrix of stored blocks, `rows` by `cols` values.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    data: &'a [u8],
    order: RowOrder,
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
            order: RowOrder::Same,
        })
    }

    /// The matrix whose rows come in `order`, which fits it.
    pub(crate) fn reordered(self, order: RowOrder) -> Self {
        Self { order, ..self }
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.data.len() / self.rows
    }

    /// The blocks of row `r`.
    #[inline]
    pub fn row(&self, r: usize) -> &'a [u8] {
        let (r, bytes) = (self.order.source_row(r), self.row_bytes());
        &self.data[r * bytes..(r + 1) * bytes]
    }

    /// Dequantizes row `r` to `out`, `cols` long.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        self.dtype.dequantize(self.row(r), out);
    }
}

/// `out[n, r] = w[r, :] . x[n, :]`, at the level of `x`, on the threads of the current pool.
///
/// `x` is `[n, cols]` and `out` becomes `[n, rows]`, row after row. Rows of `x` are packed for the
/// kernels at the first product, and stay packed for those that follow with weights of the same
/// kind.
///
/// # Panics
/// When `out` is not `x.len() * w.rows()` long, or the widths of `w` and `x` differ.
pub fn matmul(w: &Weights, x: &mut Activations, out: &mut [f32]) {
    assert_eq!(w.cols(), x.width(), "inputs of the weights, values of a row of x");
    assert_eq!(
        out.len(),
        w.rows() * x.len(),
        "outputs of the weights times rows of x"
    );
    w.dtype().visit(Product { w, x, out });
}

/// A product, for which the format of the weights chooses the microkernel.
struct Product<'a> {
    w: &'a Weights,
    x: &'a mut Activations,
    out: &'a mut [f32],
}

impl FormatVisitor for Product<'_> {
    type Output = ();

    fn plain<F: PlainFormat>(self) {
        let Layout::Rows(tensor) = &self.w.layout else {
            unreachable!("{} weights stay in rows", self.w.dtype());
        };
        let weights = Plain16Lanes {
            level: self.x.level(),
            w: tensor.matrix(),
            format: PhantomData::<F>,
        };
        multiply(&weights, self.w.rows(), self.x, self.out);
    }

    fn int<F: IntFormat>(self) {
        let Layout::Strips(strips) = &self.w.layout else {
            unreachable!("{} weights are interleaved", self.w.dtype());
        };
        let weights = Interleaved {
            strips,
            cols: self.w.cols(),
            format: PhantomData::<F>,
        };
        self.quantized(weights);
    }

    fn codebook<F: CodebookFormat>(self) {
        let Layout::Rows(tensor) = &self.w.layout else {
            unreachable!("{} weights stay in rows", self.w.dtype());
        };
        let weights = CodebookRows {
            bytes: tensor.bytes(),
            cols: self.w.cols(),
            format: PhantomData::<F>,
        };
        self.quantized(weights);
    }
}

impl<'a> Product<'a> {
    /// Every level multiplies quantized weights in 16 lanes.
    fn quantized(self, weights: impl StoredWeights + 'a) {
        let level = self.x.level();
        multiply(&Int16Lanes { level, weights }, self.w.rows(), self.x, self.out);
    }
}
