//! Which weights come next, to be brought near.

use crate::block::PlainFormat;
use crate::matmul::matrix::Matrix;

/// Where row `r` of the strip of `rows` rows from `first` on goes on at column `to`: there, or past
/// the last column in the next strip.
#[inline(always)]
pub(super) fn onward<F: PlainFormat>(
    w: Matrix<'_>,
    first: usize,
    rows: usize,
    r: usize,
    to: usize,
) -> *const u8 {
    let (row, column) = if to < w.cols() { (r, to) } else { (rows + r, 0) };
    &raw const w.row((first + row).min(w.rows() - 1))[column * F::BYTES]
}
