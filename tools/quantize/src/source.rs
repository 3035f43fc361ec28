//! Where weights come from: a model as GGUF names and orders it, its data still in the source's files.

use crate::error::QuantizeError;
use crate::hf;
use crate::locate;
use bise_format::checkpoint::{Checkpoint, Container};
use bise_format::gguf::Metadata;
use bise_format::llama;
use bise_kernels::block::DType;
use bise_kernels::tensor;
use std::ops::Range;
use std::path::Path;

/// A model to be quantized.
pub(crate) struct Model {
    /// All that the output will say, but for the file type.
    pub metadata: Metadata,
    /// In the order of the output.
    pub tensors: Vec<Tensor>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// What the source is stored in.
    pub container: Container,
}

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

/// Reads the model at `src`: a directory of safetensors, a GGUF file, or one part of several.
pub(crate) fn open(src: &Path) -> Result<Model, QuantizeError> {
    locate(src)?;
    if src.is_dir() {
        hf::open(src)
    } else {
        open_gguf(src)
    }
}

fn open_gguf(src: &Path) -> Result<Model, QuantizeError> {
    let checkpoint = Checkpoint::open(src)?;
    let notes = llama::check(&checkpoint).map_err(|e| QuantizeError::llama(src, e))?;
    let Checkpoint {
        mut metadata,
        tensors,
        container,
    } = checkpoint;
    // What describes the old file's making does not describe the new one's.
    metadata.retain(|key| !key.starts_with("quantize.imatrix."));
    let tensors = tensors.into_iter();
    Ok(Model {
        tensors: tensors
            .map(|(name, tensor)| Tensor::whole(name.clone(), name, tensor))
            .collect(),
        metadata,
        notes,
        container,
    })
}

impl Model {
    /// The model as programs load it: nothing is copied, so experts of separate tensors stay so, named as in older GGUF files.
    pub(crate) fn into_checkpoint(self) -> Checkpoint {
        let mut tensors = Vec::new();
        for Tensor { name, mut parts, .. } in self.tensors {
            match name.strip_suffix("_exps.weight") {
                // Parts that are not stacked: one for each expert, be it a single one.
                Some(stem) if parts[0].tensor.shape().len() == 2 => {
                    let parts = parts.into_iter().enumerate();
                    tensors.extend(parts.map(|(e, part)| (format!("{stem}.{e}.weight"), part.tensor)));
                }
                _ => tensors.push((name, parts.swap_remove(0).tensor)),
            }
        }
        Checkpoint {
            metadata: self.metadata,
            tensors: tensors.into_iter().collect(),
            container: self.container,
        }
    }
}
