//! A matrix as it is stored: bytes, their type, and the order of rows.

use crate::block::DType;
use crate::tensor::RowOrder;

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
