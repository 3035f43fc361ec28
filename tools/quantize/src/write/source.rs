//! Tensors as the output has them: GGUF's names and order, experts stacked, the data still in
//! the source's files.

use crate::error::QuantizeError;
use crate::write::merge::Merge;
use bise_format::checkpoint::{Checkpoint, Container};
use bise_format::{OpenError, TensorName};
use bise_kernels::block::DType;
use bise_kernels::tensor::Tensor;
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A model that has been opened, to be quantized.
pub struct Source {
    pub(crate) path: PathBuf,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) notes: Vec<String>,
}

impl Source {
    /// Opens the model at `path`; see [`bise_format::open`].
    ///
    /// # Errors
    /// As [`bise_format::open`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (checkpoint, notes) = bise_format::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            checkpoint,
            notes,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata and tensors.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What the user should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// A tensor of the output: parts of the source, one after the other along the slowest dimension.
pub(crate) struct StackedTensor {
    /// GGUF's name.
    pub name: String,
    /// The fastest first.
    pub dims: Vec<u64>,
    /// At least one, all of the same shape.
    pub parts: Vec<SourceTensor>,
    /// What adapters add, in the order given.
    pub merges: Vec<Merge>,
}

/// A tensor of the source.
pub(crate) struct SourceTensor {
    /// The source's name.
    pub name: String,
    pub tensor: Tensor,
}

impl StackedTensor {
    /// A tensor that is one in the source too.
    pub(crate) fn whole(name: String, source: String, tensor: Tensor) -> Self {
        Self {
            name,
            dims: tensor.shape().iter().rev().map(|&d| d as u64).collect(),
            parts: vec![SourceTensor {
                name: source,
                tensor,
            }],
            merges: Vec::new(),
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
        dtype.is_quantized()
            && !self.is_changed()
            && self.parts.iter().all(|part| part.tensor.dtype() == dtype)
    }

    /// Whether adapters are merged into it.
    pub(crate) fn is_changed(&self) -> bool {
        !self.merges.is_empty()
    }

    /// The bytes of `row`, in little-endian order, at the end of `out`.
    pub(crate) fn copy_row(&self, row: u64, out: &mut Vec<u8>) {
        let (part, row) = self.locate(row);
        part.tensor.copy_row(row, out);
    }

    /// The values of `rows`, adapters merged, `out` being as long.
    pub(crate) fn read_rows(&self, rows: Range<u64>, out: &mut [f32]) {
        let columns = self.columns() as usize;
        for (row, out) in rows.clone().zip(out.chunks_exact_mut(columns)) {
            let (part, row) = self.locate(row);
            part.tensor.read_row(row, out);
        }
        self.merges.iter().for_each(|merge| merge.add(&rows, out));
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
    pub(crate) fn locate(&self, row: u64) -> (&SourceTensor, usize) {
        let rows = self.rows() / self.parts.len() as u64;
        (&self.parts[(row / rows) as usize], (row % rows) as usize)
    }
}

/// A tensor of the source, or experts of one that is to be, by their numbers.
enum Place {
    One(StackedTensor),
    Experts(BTreeMap<u64, StackedTensor>),
}

/// The tensors of `checkpoint`, which is at `path`, in its order; experts of a layer that are
/// tensors of their own are stacked, in the place of the first.
///
/// # Errors
/// When experts are missing, or their shapes differ.
pub(crate) fn stack(
    path: &Path,
    checkpoint: &Checkpoint,
    notes: &mut Vec<String>,
) -> Result<Vec<StackedTensor>, QuantizeError> {
    let mut places: IndexMap<String, Place> = IndexMap::new();
    let mut count = 0;
    for (name, tensor) in &checkpoint.tensors {
        let source = checkpoint.source_name(name).to_owned();
        let tensor = StackedTensor::whole(name.clone(), source, tensor.clone());
        let Some((stacked, expert)) = TensorName::parse(name).and_then(TensorName::of_expert)
        else {
            places.insert(tensor.name.clone(), Place::One(tensor));
            continue;
        };
        let twice = || format!("tensor {} and a stacked one are the same", tensor.name);
        match places
            .entry(stacked.to_string())
            .or_insert_with(|| Place::Experts(BTreeMap::new()))
        {
            Place::Experts(experts) => experts.insert(expert, tensor),
            Place::One(_) => return Err(QuantizeError::unsupported(path, twice())),
        };
        count += 1;
    }
    let mut stacks = 0;
    let tensors = places.into_iter().map(|(name, place)| match place {
        Place::One(tensor) => Ok(tensor),
        Place::Experts(experts) => {
            stacks += 1;
            join(name, experts).map_err(|what| QuantizeError::unsupported(path, what))
        }
    });
    let tensors = tensors.collect::<Result<_, _>>()?;
    // A directory has none stacked.
    if count > 0 && matches!(checkpoint.container, Container::Gguf { .. }) {
        notes.push(format!("stacked {count} tensors of experts to {stacks}"));
    }
    Ok(tensors)
}

/// Experts as one tensor, when none is missing and all have the same shape.
fn join(name: String, experts: BTreeMap<u64, StackedTensor>) -> Result<StackedTensor, String> {
    let count = experts.len() as u64;
    let mut joined: Option<StackedTensor> = None;
    for (expected, (expert, tensor)) in (0..).zip(experts) {
        if expert != expected {
            return Err(format!("{name}: expert {expected} is missing"));
        }
        match &mut joined {
            None => joined = Some(tensor),
            Some(joined) if joined.dims == tensor.dims => joined.parts.extend(tensor.parts),
            Some(joined) => {
                let (found, expected) = (&tensor.dims, &joined.dims);
                return Err(format!(
                    "tensor {} is {found:?}, expected {expected:?}",
                    tensor.name
                ));
            }
        }
    }
    let mut joined = joined.ok_or_else(|| format!("{name}: no experts"))?;
    joined.name = name;
    joined.dims.push(count);
    Ok(joined)
}
