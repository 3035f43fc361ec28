//! The weights of a linear map, laid out as the kernels walk through them.

use super::interleaved::Interleave;
use super::matrix::Matrix;
use crate::block::{CodebookFormat, DType, FormatVisitor, IntFormat, PlainFormat};
use crate::isa::{LANES, Level};
use crate::mmap::Buffer;
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::io;
use std::marker::PhantomData;

/// The weights of a linear map from `cols` to `rows` values, ready to be multiplied.
///
/// Unquantized weights and those of codebooks stay in the tensor's rows; other quantized ones are
/// copied, with 16 rows side by side.
pub struct Weights {
    dtype: DType,
    rows: usize,
    cols: usize,
    finite: bool,
    pub(super) layout: Layout,
}

pub(super) enum Layout {
    /// Row by row, as in the file.
    Rows(Tensor),
    /// Strips of 16 rows, as [`super::interleaved`] has them.
    Strips(Buffer),
}

impl Weights {
    /// Lays out `tensor`'s matrix, in parallel. What is copied is released from the tensor's file.
    ///
    /// # Errors
    /// When there is no memory for the copy.
    pub fn new(tensor: &Tensor) -> io::Result<Self> {
        let matrix = tensor.matrix();
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let (layout, finite) = tensor.dtype().visit(LayOut { tensor, matrix })?;
        Ok(Self {
            dtype: tensor.dtype(),
            rows,
            cols,
            finite,
            layout,
        })
    }

    /// Keeps the weights from being paged out; those in a file's pages stay as they are.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn lock(&self) -> io::Result<()> {
        match &self.layout {
            Layout::Rows(tensor) => tensor.lock(),
            Layout::Strips(strips) => strips.lock(),
        }
    }

    /// Whether all scales that were copied are finite numbers. Of weights that stay in the tensor's
    /// rows nothing is known, and this is true.
    pub fn is_finite(&self) -> bool {
        self.finite
    }

    /// The type of the weights.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Outputs of the map.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of the map.
    pub fn cols(&self) -> usize {
        self.cols
    }
}

struct LayOut<'a> {
    tensor: &'a Tensor,
    matrix: Matrix<'a>,
}

impl FormatVisitor for LayOut<'_> {
    type Output = io::Result<(Layout, bool)>;

    fn plain<F: PlainFormat>(self) -> Self::Output {
        Ok((Layout::Rows(self.tensor.clone()), true))
    }

    fn codebook<F: CodebookFormat>(self) -> Self::Output {
        Ok((Layout::Rows(self.tensor.clone()), true))
    }

    fn int<F: IntFormat>(self) -> Self::Output {
        let (bytes, row_bytes) = (self.tensor.bytes(), self.matrix.row_bytes());
        let mut strips = Buffer::zeroed(self.matrix.rows().next_multiple_of(LANES) * row_bytes)?;
        let level = Level::detect();
        let rows = bytes.par_chunks(LANES * row_bytes);
        let finite = strips
            .par_chunks_mut(LANES * row_bytes)
            .zip(rows)
            .map(|(strip, rows)| {
                level.run(Interleave {
                    rows,
                    row_bytes,
                    strip,
                    format: PhantomData::<F>,
                })
            })
            .reduce(|| true, |a, b| a & b);
        self.tensor.release();
        Ok((Layout::Strips(strips), finite))
    }
}
