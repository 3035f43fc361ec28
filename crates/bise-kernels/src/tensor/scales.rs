//! Scales that belong to a tensor: one for each block of rows and columns of a matrix.
//!
//! ```text
//! w[r, c] = scale[r / rows, c / columns] * x[r, c]     rounded to f32 once
//! ```
//!
//! `r` is the stored row, whatever the order in which rows come. The last blocks may be cut: of a
//! matrix of 200 rows in blocks of 128, the second has 72.

use crate::e4m3;
use crate::isa::LANES;
use std::fmt;
use std::sync::Arc;

/// The scales of a matrix. Cloning shares them.
///
/// ```
/// use bise_kernels::tensor::Scales;
///
/// // One for each two rows of 48 columns.
/// let scales = Scales::new([5, 48], [2, 48], vec![0.5, 1.0, 2.0]).unwrap();
/// assert_eq!(scales.of_row(3), [1.0]);
/// assert!(Scales::new([5, 48], [2, 48], vec![0.5, 1.0]).is_none());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// `[blocks of rows, blocks of columns]`
    values: Arc<[f32]>,
    /// Rows and columns of the matrix.
    shape: [usize; 2],
    /// Rows and columns of a block.
    block: [usize; 2],
    /// Blocks side by side.
    across: usize,
}

impl Scales {
    /// The scales of a matrix `[rows, columns]`, row after row of them; `None` when they are not
    /// one for each block of `block` rows and columns.
    pub fn new(shape: [usize; 2], block: [usize; 2], values: Vec<f32>) -> Option<Self> {
        if block.contains(&0) {
            return None;
        }
        let [down, across] = [0, 1].map(|i| shape[i].div_ceil(block[i]));
        let fits = down.checked_mul(across) == Some(values.len());
        fits.then(|| Self {
            values: values.into(),
            shape,
            block,
            across,
        })
    }

    /// Rows and columns of the matrix.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Rows and columns that share a scale.
    pub fn block(&self) -> [usize; 2] {
        self.block
    }

    /// All of them, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Those of the stored row `row`, one for each of the block's columns.
    pub fn of_row(&self, row: usize) -> &[f32] {
        &self.values[row / self.block[0] * self.across..][..self.across]
    }

    /// Multiplies the values of the stored row `row` with their scales.
    pub fn apply(&self, row: usize, values: &mut [f32]) {
        for (values, scale) in values.chunks_mut(self.block[1]).zip(self.of_row(row)) {
            values.iter_mut().for_each(|value| *value *= scale);
        }
    }

    /// Whether each 16 columns, counted from the first, share a scale: what kernels take.
    pub fn suit_kernels(&self) -> bool {
        self.across == 1 || self.block[1].is_multiple_of(LANES)
    }

    /// Whether no product with a stored number can be infinite or NaN.
    pub fn keep_finite(&self) -> bool {
        self.values.iter().all(|scale| (scale * e4m3::MAX).is_finite())
    }
}

impl fmt::Display for Scales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, columns] = self.block;
        match self.values.len() {
            1 => f.write_str("one scale"),
            count => write!(f, "{count} scales, each of {rows} x {columns}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_blocks_are_cut() {
        let scales = Scales::new([5, 40], [3, 32], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        for (row, expected) in [(0, [1.0, 2.0]), (2, [1.0, 2.0]), (3, [3.0, 4.0]), (4, [3.0, 4.0])]
        {
            assert_eq!(scales.of_row(row), expected, "{row}");
            let mut values = [1.0; 40];
            scales.apply(row, &mut values);
            assert_eq!(
                (values[31], values[32], values[39]),
                (expected[0], expected[1], expected[1])
            );
        }
    }

    #[test]
    fn scales_that_do_not_fit() {
        let fits = |shape, block, count| Scales::new(shape, block, vec![1.0; count]).is_some();
        assert!(fits([4, 4], [9, 9], 1));
        assert!(!fits([4, 4], [0, 4], 1) && !fits([4, 4], [4, 0], 1));
        assert!(!fits([usize::MAX, usize::MAX], [1, 1], 1));
        assert!(!fits([5, 5], [2, 5], 2));
    }

    #[test]
    fn kernels_take_runs_of_16_columns() {
        let suits = |columns, block| {
            let count = usize::div_ceil(columns, block);
            Scales::new([1, columns], [1, block], vec![1.0; count])
                .unwrap()
                .suit_kernels()
        };
        assert!(suits(100, 16) && suits(100, 100) && suits(100, 200) && suits(9, 48));
        assert!(!suits(100, 17) && !suits(100, 8) && !suits(100, 99));
    }

    #[test]
    fn scales_that_are_no_numbers_or_too_large() {
        let finite = |scale| Scales::new([1, 1], [1, 1], vec![scale]).unwrap().keep_finite();
        assert!(finite(1.0) && finite(-2.0) && finite(0.0) && finite(f32::MAX / 448.0));
        assert!(!finite(f32::NAN) && !finite(f32::INFINITY) && !finite(1e37));
    }
}
