//! A tensor in a file or in memory: stored blocks, their type and their shape.

mod order;
mod scales;

pub use order::RowOrder;
pub use scales::Scales;

use crate::block::DType;
use crate::matmul::Matrix;
use crate::mmap::FileBytes;
use std::io;
use std::ops::Range;

/// The order of bytes within stored numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// Lowest byte first.
    Little,
    /// Highest byte first.
    Big,
}

/// Blocks in a file or in memory, as matrices stacked on each other: `[.., rows, cols]`.
///
/// Files store the same weights in several ways, and a tensor says in which: with numbers in either
/// byte order, with rows in another [`order`](RowOrder), with each matrix's columns where its rows
/// should be, or as multiples of [`Scales`]. Cloning shares the bytes.
///
/// ```
/// use bise_kernels::block::DType;
/// use bise_kernels::mmap::FileBytes;
/// use bise_kernels::tensor::Tensor;
///
/// let numbers = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(f32::to_le_bytes).concat();
/// let tensor = Tensor::from_bytes(DType::F32, &[2, 3], FileBytes::from_vec(numbers)).unwrap();
/// assert_eq!((tensor.rows(), tensor.cols()), (2, 3));
/// let mut row = [0.0; 3];
/// tensor.read_row(1, &mut row);
/// assert_eq!(row, [4.0, 5.0, 6.0]);
/// ```
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    /// Outermost first.
    shape: Vec<usize>,
    file: FileBytes,
    range: Range<usize>,
    endian: Endian,
    order: RowOrder,
    /// Whether each matrix is stored as `[cols, rows]`; of unquantized types only.
    transposed: bool,
    /// What the values of a single matrix are multiples of; of scaled types only.
    scales: Option<Scales>,
}

impl Tensor {
    /// `bytes` as a tensor of `shape`, outermost extent first; `None` when that is not its size.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: FileBytes) -> Option<Self> {
        let all = 0..bytes.len();
        Self::in_file(dtype, shape, &bytes, all)
    }

    /// The bytes of `file` in `range` as a tensor of `shape`, outermost extent first; `None` when
    /// that is not their size.
    pub fn in_file(
        dtype: DType,
        shape: &[usize],
        file: &FileBytes,
        range: Range<usize>,
    ) -> Option<Self> {
        let rows = shape
            .iter()
            .rev()
            .skip(1)
            .try_fold(1usize, |n, &d| n.checked_mul(d))?;
        Matrix::new(dtype, rows, *shape.last()?, file.get(range.clone())?)?;
        if shape.contains(&0) {
            return None;
        }
        Some(Self {
            dtype,
            shape: shape.to_vec(),
            file: file.clone(),
            range,
            endian: Endian::Little,
            order: RowOrder::Same,
            transposed: false,
            scales: None,
        })
    }

    /// The matrix of the products of this one's values with `scales`; `None` when those are not of
    /// its shape, or the type has none.
    pub fn with_scales(self, scales: Scales) -> Option<Self> {
        let fits = self.dtype.is_scaled() && self.shape == scales.shape() && !self.transposed;
        fits.then_some(Self {
            scales: Some(scales),
            ..self
        })
    }

    /// What the values are multiples of.
    pub fn scales(&self) -> Option<&Scales> {
        self.scales.as_ref()
    }

    /// This tensor with its numbers stored in the byte order `endian`.
    pub fn with_endian(self, endian: Endian) -> Self {
        Self { endian, ..self }
    }

    /// The matrix whose row `r` is this one's row `order.source_row(r)`; `None` when the rows are
    /// not whole heads, or are quantized, for which kernels have no order.
    pub fn reordered(self, order: RowOrder) -> Option<Self> {
        let fits = self.shape.len() == 2 && order.fits(self.shape[0]) && !self.dtype.is_quantized();
        (fits && self.order == RowOrder::Same && !self.transposed).then_some(Self { order, ..self })
    }

    /// The transposes of the matrices; `None` for other things than matrices of an unquantized
    /// type, and for one with scales.
    pub fn transposed(mut self) -> Option<Self> {
        let last = self.shape.len().checked_sub(1).filter(|&last| last > 0)?;
        self.shape.swap(last - 1, last);
        self.transposed = !self.transposed;
        let fits = !self.dtype.is_quantized() && self.order == RowOrder::Same;
        (fits && self.scales.is_none()).then_some(self)
    }

    /// This tensor with its matrices stacked to `count` on each other; `None` when rows do not
    /// divide so, or have scales.
    pub fn stacked(mut self, count: usize) -> Option<Self> {
        let [rows, cols] = self.shape[..] else { return None };
        let fits = count > 0
            && rows.is_multiple_of(count)
            && self.order == RowOrder::Same
            && !self.transposed
            && self.scales.is_none();
        self.shape = vec![count, rows / count.max(1), cols];
        fits.then_some(self)
    }

    /// This tensor with `count` extents, of which outer ones of 1 are added or left out; `None`
    /// when those to be left out are larger.
    pub fn with_outer_ones(mut self, count: usize) -> Option<Self> {
        while self.shape.len() > count.max(1) {
            if self.shape.remove(0) != 1 {
                return None;
            }
        }
        let added = count.saturating_sub(self.shape.len());
        self.shape.splice(0..0, std::iter::repeat_n(1, added));
        Some(self)
    }

    /// The type of the values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Where in its file the tensor begins.
    pub fn offset(&self) -> usize {
        self.range.start
    }

    /// The stored blocks, as the file has them.
    pub fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// Says that the blocks will not be looked at for long; see [`FileBytes::release`].
    pub fn release(&self) {
        self.file.release(self.range.clone());
    }

    /// The tensor with its bytes in memory of their own, read from the file; see
    /// [`FileBytes::read`].
    ///
    /// # Errors
    /// As [`FileBytes::read`].
    pub fn read_in(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.read(self.range.clone())?,
            range: 0..self.len(),
            ..self.clone()
        })
    }

    /// Keeps the bytes from being paged out, when they are in memory of their own.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn lock(&self) -> io::Result<()> {
        self.file.lock()
    }

    /// Whether kernels can read the tensor where it is.
    pub fn is_native(&self) -> bool {
        let scales = self.scales.as_ref().is_none_or(Scales::suit_kernels);
        self.endian == Endian::Little && !self.transposed && scales
    }

    /// Bytes of [`native`](Self::native).
    pub fn native_len(&self) -> usize {
        match self.scales.is_some() && !self.is_native() {
            true => self.elements().saturating_mul(size_of::<f32>()),
            false => self.len(),
        }
    }

    /// The tensor as kernels read it: itself, or, when numbers are big-endian, matrices transposed
    /// or scales those of fewer columns than kernels take at a time, a copy. Values with scales
    /// become F32 in it.
    pub fn native(&self) -> Self {
        if self.is_native() {
            return self.clone();
        }
        let mut own = Vec::with_capacity(self.native_len());
        let mut values = vec![0.0; self.cols()];
        for row in 0..self.rows() {
            if self.scales.is_none() {
                self.copy_row(row, &mut own);
                continue;
            }
            self.read_row(row, &mut values);
            own.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        self.release();
        Self {
            dtype: self.scales.as_ref().map_or(self.dtype, |_| DType::F32),
            shape: self.shape.clone(),
            range: 0..own.len(),
            file: FileBytes::from_vec(own),
            endian: Endian::Little,
            order: RowOrder::Same,
            transposed: false,
            scales: None,
        }
    }

    /// Values of a row.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Rows of all matrices.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    /// Puts the blocks of `row`, in little-endian order and without [`Scales`], at the end of
    /// `out`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn copy_row(&self, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        if self.transposed {
            self.gather_column(row, out);
        } else {
            let len = self.len() / self.rows();
            let row = self.order.source_row(row);
            out.extend_from_slice(&self.bytes()[row * len..][..len]);
        }
        if self.endian == Endian::Big {
            self.dtype.swap_endian(&mut out[start..]);
        }
    }

    /// The values of `row`, as many as `out` is long.
    ///
    /// # Panics
    /// When there is no such row, or `out` is not [`cols`](Self::cols) long.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        if self.is_native() {
            return self.matrix().dequantize_row(row, out);
        }
        let mut bytes = Vec::with_capacity(self.len() / self.rows());
        self.copy_row(row, &mut bytes);
        self.dtype.dequantize(&bytes, out);
        if let Some(scales) = &self.scales {
            scales.apply(self.source_row(row), out);
        }
    }

    /// The row of the file that is row `row`, for messages.
    pub fn source_row(&self, row: usize) -> usize {
        self.order.source_row(row)
    }

    /// The values that are stored below each other: row `row` of a transposed tensor.
    fn gather_column(&self, row: usize, out: &mut Vec<u8>) {
        let (cols, size) = (self.cols(), self.len() / self.elements());
        let rows = self.shape[self.shape.len() - 2];
        let (matrix, column) = (row / rows, row % rows);
        let matrix = &self.bytes()[matrix * rows * cols * size..][..rows * cols * size];
        for stored in matrix.chunks_exact(rows * size) {
            out.extend_from_slice(&stored[column * size..][..size]);
        }
    }

    /// All values, dequantized.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.elements()];
        for (r, row) in values.chunks_exact_mut(self.cols()).enumerate() {
            self.read_row(r, row);
        }
        values
    }

    /// The values as one matrix, outer extents taken together as rows.
    ///
    /// # Panics
    /// When the tensor is not [`native`](Self::native).
    pub fn matrix(&self) -> Matrix<'_> {
        assert!(self.is_native(), "a matrix that kernels can read");
        let matrix = Matrix::new(self.dtype, self.rows(), self.cols(), self.bytes());
        matrix
            .expect("the bytes of a tensor fit its shape")
            .reordered(self.order)
            .scaled(self.scales.as_ref())
    }

    /// The `i`-th of the tensors that this one stacks on its outermost extent.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub fn slab(&self, i: usize) -> Self {
        assert!(
            self.shape.len() > 2 && i < self.shape[0],
            "slab {i} of {:?}",
            self.shape
        );
        let len = self.range.len() / self.shape[0];
        let start = self.range.start + i * len;
        Self {
            shape: self.shape[1..].to_vec(),
            range: start..start + len,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows 0 to 3 of `[0, 1, 2], [10, 11, 12], ..`.
    fn counted() -> Tensor {
        let values = (0..4).flat_map(|r| (0..3).map(move |c| (10 * r + c) as f32));
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        Tensor::from_bytes(DType::F32, &[4, 3], FileBytes::from_vec(bytes)).unwrap()
    }

    #[test]
    fn rows_come_in_their_order() {
        let ordered = counted()
            .reordered(RowOrder::Interleaved { head_dim: 4 })
            .unwrap();
        let expected = [
            0.0, 1.0, 2.0, 20.0, 21.0, 22.0, 10.0, 11.0, 12.0, 30.0, 31.0, 32.0,
        ];
        assert_eq!(ordered.to_vec(), expected);
        let mut copied = Vec::new();
        (0..4).for_each(|row| ordered.copy_row(row, &mut copied));
        let copied = Tensor::from_bytes(DType::F32, &[4, 3], FileBytes::from_vec(copied)).unwrap();
        assert_eq!(copied.to_vec(), expected);
        for head_dim in [0, 1, 3, 8] {
            let order = RowOrder::Interleaved { head_dim };
            assert!(counted().reordered(order).is_none(), "heads of {head_dim}");
        }
    }

    #[test]
    fn transposed_matrices() {
        let stacked = counted().stacked(2).unwrap().transposed().unwrap();
        assert_eq!(stacked.shape(), [2, 3, 2]);
        let expected = [
            0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 20.0, 30.0, 21.0, 31.0, 22.0, 32.0,
        ];
        assert_eq!(stacked.to_vec(), expected);
        assert_eq!(stacked.native().to_vec(), expected);
        assert_eq!(stacked.slab(1).to_vec(), expected[6..]);
        assert!(counted().stacked(3).is_none());
        assert!(counted().stacked(0).is_none());
    }

    /// The rows of [`counted`] as bytes, multiples of scales.
    fn scaled(block: [usize; 2], scales: &[f32]) -> Option<Tensor> {
        let dtype = *DType::ALL.iter().find(|dtype| dtype.is_scaled())?;
        // 1 to 1.75 and 2 to 2.5 by steps of 1/8 and 1/4.
        let bytes = FileBytes::from_vec((0x38..0x38 + 12).collect());
        let scales = Scales::new([4, 3], block, scales.to_vec())?;
        Tensor::from_bytes(dtype, &[4, 3], bytes)?.with_scales(scales)
    }

    #[test]
    fn values_are_multiples_of_their_scales() {
        let expected = [1.0, 1.125, 1.25, 1.375, 1.5, 1.625, 3.5, 3.75, 4.0, 4.5, 5.0, 5.5];
        let two = scaled([2, 3], &[1.0, 2.0]).unwrap();
        assert!(two.is_native() && two.native_len() == 12);
        assert_eq!(two.to_vec(), expected);
        let narrow = scaled([2, 2], &[1.0, 1.0, 2.0, 2.0]).unwrap();
        let native = narrow.native();
        assert!(!narrow.is_native() && native.dtype() == DType::F32);
        assert_eq!((narrow.native_len(), native.len()), (48, 48));
        assert_eq!(
            (narrow.to_vec(), native.to_vec()),
            (expected.into(), expected.into())
        );
    }

    #[test]
    fn scales_are_those_of_the_stored_rows() {
        let order = RowOrder::Interleaved { head_dim: 4 };
        for scaled in [
            scaled([2, 3], &[1.0, 2.0]),
            scaled([2, 1], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]),
        ] {
            let ordered = scaled.unwrap().reordered(order).unwrap();
            let expected = [1.0, 1.125, 1.25, 3.5, 3.75, 4.0, 1.375, 1.5, 1.625, 4.5, 5.0, 5.5];
            assert_eq!(ordered.to_vec(), expected);
            assert_eq!(ordered.native().to_vec(), expected);
            assert_eq!(ordered.read_in().unwrap().to_vec(), expected);
        }
    }

    #[test]
    fn scales_of_one_matrix_as_it_lies() {
        let scaled = || scaled([4, 3], &[0.5]).unwrap();
        assert!(scaled().transposed().is_none() && scaled().stacked(2).is_none());
        let one = scaled().with_outer_ones(3).unwrap();
        assert_eq!(one.slab(0).to_vec(), scaled().to_vec());
        let scales = Scales::new([4, 3], [4, 3], vec![0.5]).unwrap();
        assert!(counted().with_scales(scales).is_none(), "F32 has none");
        let scales = Scales::new([3, 4], [3, 4], vec![0.5]).unwrap();
        assert!(scaled().with_scales(scales).is_none(), "of another shape");
    }

    #[test]
    fn outer_extents_of_1() {
        let shape = |count| {
            counted()
                .with_outer_ones(count)
                .map(|tensor| tensor.shape().to_vec())
        };
        assert_eq!(shape(2), Some(vec![4, 3]));
        assert_eq!(shape(4), Some(vec![1, 1, 4, 3]));
        assert_eq!(shape(1), None);
        let again = counted()
            .with_outer_ones(4)
            .and_then(|tensor| tensor.with_outer_ones(2));
        assert_eq!(again.unwrap().shape(), [4, 3]);
    }

    #[test]
    fn sizes_that_do_not_fit() {
        let file = FileBytes::from_vec(vec![0; 48]);
        assert!(Tensor::in_file(DType::F32, &[2, 3], &file, 24..48).is_some());
        assert!(Tensor::in_file(DType::F32, &[2, 3], &file, 28..52).is_none());
        assert!(Tensor::in_file(DType::F32, &[2, 3], &file, 24..44).is_none());
        assert!(Tensor::in_file(DType::F32, &[usize::MAX, usize::MAX, 3], &file, 0..48).is_none());
        assert!(Tensor::in_file(DType::F32, &[], &file, 0..4).is_none());
        assert!(Tensor::in_file(DType::F32, &[0, 3], &file, 0..0).is_none());
    }
}
