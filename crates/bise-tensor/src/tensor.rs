//! A tensor in memory: stored blocks, their type and their shape.

use crate::block::DType;
use crate::gguf::{Endian, Gguf, TensorInfo};
use crate::matmul::Matrix;
use crate::mmap::FileBytes;
use std::ops::Range;

/// Blocks in a file or in memory, as matrices stacked on each other: `[.., rows, cols]`.
///
/// Cloning shares the bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    /// Outermost first.
    shape: Vec<usize>,
    file: FileBytes,
    range: Range<usize>,
}

impl Tensor {
    /// The tensor that `info` describes, looked at in place. A big-endian file's tensors are copied and turned.
    pub fn from_gguf(gguf: &Gguf, file: &FileBytes, info: &TensorInfo) -> Self {
        let bytes = gguf.bytes(file, info);
        let shape = info.dims.iter().rev().map(|&d| d as usize).collect();
        if gguf.endian == Endian::Big {
            let mut own = bytes.to_vec();
            info.dtype.swap_endian(&mut own);
            return Self {
                dtype: info.dtype,
                shape,
                range: 0..own.len(),
                file: FileBytes::from_vec(own),
            };
        }
        let start = bytes.as_ptr() as usize - file.as_ptr() as usize;
        Self {
            dtype: info.dtype,
            shape,
            range: start..start + bytes.len(),
            file: file.clone(),
        }
    }

    /// `bytes` as a tensor of `shape`, outermost extent first; `None` when that is not its size.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: FileBytes) -> Option<Self> {
        let rows = shape
            .iter()
            .rev()
            .skip(1)
            .try_fold(1usize, |n, &d| n.checked_mul(d))?;
        Matrix::new(dtype, rows, *shape.last()?, &bytes)?;
        Some(Self {
            dtype,
            shape: shape.to_vec(),
            range: 0..bytes.len(),
            file: bytes,
        })
    }

    /// The type of the values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The stored blocks.
    pub fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// Says that the blocks will not be looked at for long; see [`FileBytes::release`].
    pub fn release(&self) {
        self.file.release(self.range.clone());
    }

    /// All values, dequantized.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.shape.iter().product()];
        self.dtype.dequantize(self.bytes(), &mut values);
        values
    }

    /// The values as one matrix, outer extents taken together as rows.
    pub fn matrix(&self) -> Matrix<'_> {
        let cols = self.shape.last().copied().unwrap_or(1);
        let rows = self.shape.iter().rev().skip(1).product();
        Matrix::new(self.dtype, rows, cols, self.bytes()).expect("the bytes of a tensor fit its shape")
    }

    /// The `i`-th of the tensors that this one stacks on its outermost extent.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub fn slab(&self, i: usize) -> Self {
        assert!(
            self.shape.len() > 1 && i < self.shape[0],
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
