//! A matrix as it is stored: bytes, their type, the order of rows, what values are multiples of.

use crate::block::DType;
use crate::tensor::{RowOrder, Scales};

/// A row-major matrix of stored blocks, `rows` by `cols` values.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    data: &'a [u8],
    order: RowOrder,
    scales: Option<&'a Scales>,
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
            scales: None,
        })
    }

    /// The matrix whose rows come in `order`, which fits it.
    pub(crate) fn reordered(self, order: RowOrder) -> Self {
        Self { order, ..self }
    }

    /// The matrix whose values are multiples of `scales`, which fit it.
    pub(crate) fn scaled(self, scales: Option<&'a Scales>) -> Self {
        Self { scales, ..self }
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

    /// The scales of row `r`, and how many columns share one of them; `None` when values are no
    /// multiples.
    pub(super) fn row_scales(&self, r: usize) -> Option<(&'a [f32], usize)> {
        let scales = self.scales?;
        Some((scales.of_row(self.order.source_row(r)), scales.block()[1]))
    }

    /// Dequantizes row `r` to `out`, `cols` long.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        self.dtype.dequantize(self.row(r), out);
        if let Some(scales) = self.scales {
            scales.apply(self.order.source_row(r), out);
        }
    }
}
