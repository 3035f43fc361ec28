//! Tensors as the output has them: GGUF's names and order, experts stacked, the data still in the source's files.

use bise_format::checkpoint::Checkpoint;
use bise_kernels::block::DType;
use bise_kernels::tensor;
use std::ops::Range;

/// A tensor of the output: parts of the source, one after the other along the slowest dimension.
pub(crate) struct Tensor {
    /// GGUF's name.
    pub name: String,
    /// The fastest first.
    pub dims: Vec<u64>,
    /// At least one, all of the same shape.
    pub parts: Vec<Part>,
}

/// A tensor of the source.
pub(crate) struct Part {
    /// The source's name.
    pub name: String,
    pub tensor: tensor::Tensor,
}

impl Tensor {
    /// A tensor that is one in the source too.
    pub(crate) fn whole(name: String, source: String, tensor: tensor::Tensor) -> Self {
        Self {
            name,
            dims: tensor.shape().iter().rev().map(|&d| d as u64).collect(),
            parts: vec![Part { name: source, tensor }],
        }
    }

    /// Values in a row.
    pub(crate) fn columns(&self) -> u64 {
        self.dims[0]
    }

    /// Rows in all parts.
    pub(crate) fn rows(&self) -> u64 {
        self.dims[1..].iter().product()
    }

    /// Matrices stacked on each other: experts, or 1.
    pub(crate) fn experts(&self) -> u64 {
        self.dims[1..].iter().skip(1).product()
    }

    /// Rows of each of them.
    pub(crate) fn rows_of_expert(&self) -> u64 {
        self.rows() / self.experts()
    }

    /// Bytes in the source.
    pub(crate) fn source_len(&self) -> u64 {
        self.parts.iter().map(|part| part.tensor.len() as u64).sum()
    }

    /// The type in the source.
    pub(crate) fn source_type(&self) -> DType {
        self.parts[0].tensor.dtype()
    }

    /// Whether the source's bytes may be copied: a GGUF's blocks of type `dtype`.
    pub(crate) fn is_verbatim(&self, dtype: DType) -> bool {
        dtype.is_quantized() && self.parts.iter().all(|part| part.tensor.dtype() == dtype)
    }

    /// The bytes of `row`, in little-endian order, at the end of `out`.
    pub(crate) fn copy_row(&self, row: u64, out: &mut Vec<u8>) {
        let (part, row) = self.locate(row);
        part.tensor.copy_row(row, out);
    }

    /// The values of `rows`, `out` being as long.
    pub(crate) fn read_rows(&self, rows: Range<u64>, out: &mut [f32]) {
        for (row, out) in rows.zip(out.chunks_exact_mut(self.columns() as usize)) {
            let (part, row) = self.locate(row);
            part.tensor.read_row(row, out);
        }
    }

    /// Bytes of `rows` in the source.
    pub(crate) fn source_len_of(&self, rows: &Range<u64>) -> u64 {
        self.source_len() / self.rows() * (rows.end - rows.start)
    }

    /// Says that the part with `row` will not be read again.
    pub(crate) fn release(&self, row: u64) {
        let (part, _) = self.locate(row);
        part.tensor.release();
    }

    /// The part that `row` comes from, and which of its rows.
    pub(crate) fn locate(&self, row: u64) -> (&Part, usize) {
        let rows = self.rows() / self.parts.len() as u64;
        (&self.parts[(row / rows) as usize], (row % rows) as usize)
    }
}

/// The tensors of `checkpoint`, in its order.
pub(crate) fn tensors(checkpoint: &Checkpoint) -> Vec<Tensor> {
    let whole = |(name, tensor): (&String, &tensor::Tensor)| {
        let source = checkpoint.source_name(name).to_owned();
        Tensor::whole(name.clone(), source, tensor.clone())
    };
    checkpoint.tensors.iter().map(whole).collect()
}
