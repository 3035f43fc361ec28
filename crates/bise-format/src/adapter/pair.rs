//! Pairs of matrices, made of halves that may stand anywhere in a file.

use crate::TensorName;
use crate::error::OpenError;
use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::Tensor;
use indexmap::IndexMap;
use std::path::Path;

/// Two narrow matrices, whose product is an update of a wide one.
#[derive(Clone)]
pub struct Pair {
    a: Tensor,
    b: Tensor,
    scale: f64,
    names: [String; 2],
    /// Whether the rows of B are those of Q or K at Hugging Face, which GGUF has in another order.
    pub(super) halves_rotate: bool,
}

impl Pair {
    /// `[rank, columns]`
    pub fn a(&self) -> &Tensor {
        &self.a
    }

    /// `[rows, rank]`
    pub fn b(&self) -> &Tensor {
        &self.b
    }

    /// The width between the two.
    pub fn rank(&self) -> usize {
        self.a.rows()
    }

    /// What the file has the product multiplied by: `alpha / rank`, or `alpha / sqrt(rank)`.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The names that A and B have in their file.
    pub fn names(&self) -> [&str; 2] {
        self.names.each_ref().map(String::as_str)
    }
}

/// A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

/// A matrix of a pair, as its file has it.
struct Half {
    name: String,
    tensor: Tensor,
}

/// The halves of an adapter, while they are found.
pub(super) struct Halves<'a> {
    path: &'a Path,
    found: IndexMap<TensorName, [Option<Half>; 2]>,
}

impl<'a> Halves<'a> {
    /// None of the file at `path` yet.
    pub fn new(path: &'a Path) -> Self {
        Self {
            path,
            found: IndexMap::new(),
        }
    }

    /// Takes the half that is called `name` in the file and belongs to the matrix `target`: A as
    /// `[rank, columns]`, B as `[rows, rank]`.
    pub fn put(
        &mut self,
        target: TensorName,
        side: Side,
        name: &str,
        tensor: Tensor,
    ) -> Result<(), OpenError> {
        let place = &mut self.found.entry(target).or_default()[side as usize];
        if let Some(first) = place {
            let what = format!("tensors {} and {name} are for the same matrix", first.name);
            return Err(OpenError::unsupported(self.path, what));
        }
        *place = Some(Half {
            name: name.to_owned(),
            tensor,
        });
        Ok(())
    }

    /// The pairs; `scale` has what the product for a matrix is multiplied by, given its rank.
    ///
    /// # Errors
    /// When there is none, one is not whole, its ranks differ, or it has what is no number.
    pub fn into_pairs(
        self,
        mut scale: impl FnMut(TensorName, usize) -> Result<f64, OpenError>,
    ) -> Result<IndexMap<TensorName, Pair>, OpenError> {
        let path = self.path;
        if self.found.is_empty() {
            let problem = "the adapter has no tensors that change a model";
            let cure = "training may have ended before they were saved: save it again";
            return Err(OpenError::misplaced(path, problem, cure));
        }
        let mut pairs = IndexMap::new();
        for (target, halves) in self.found {
            let [Some(a), Some(b)] = halves else {
                let half = halves.into_iter().flatten().next();
                let name = half.map_or(String::new(), |half| half.name);
                let problem = format!("tensor {name} is half of a pair, and the other is missing");
                let cure = "the file is damaged: get it again, or save the adapter again";
                return Err(OpenError::misplaced(path, problem, cure));
            };
            let (found, expected) = (b.tensor.cols(), a.tensor.rows());
            if found != expected {
                let what = format!(
                    "tensor {} is of rank {found}, and tensor {} of rank {expected}: expected the same",
                    b.name, a.name
                );
                return Err(OpenError::unsupported(path, what));
            }
            let scale = scale(target, expected)?;
            if !scale.is_finite() {
                let what = format!("the scale of tensor {} is {scale}", a.name);
                return Err(OpenError::unsupported(path, what));
            }
            let [a_tensor, b_tensor] = [finite(path, &a)?, finite(path, &b)?];
            let pair = Pair {
                a: a_tensor,
                b: b_tensor,
                scale,
                names: [a.name, b.name],
                halves_rotate: false,
            };
            pairs.insert(target, pair);
        }
        pairs.sort_keys();
        Ok(pairs)
    }
}

/// A half that kernels of plain matrices read, all of whose values are finite numbers.
fn finite(path: &Path, half: &Half) -> Result<Tensor, OpenError> {
    let Some(tensor) = unquantized(&half.tensor) else {
        let (name, dtype) = (&half.name, half.tensor.dtype());
        let problem = format!("tensor {name} is of type {dtype}, expected one of 8 bits or more");
        let cure = "convert the adapter again: convert_lora_to_gguf.py --outtype f16";
        return Err(OpenError::misplaced(path, problem, cure));
    };
    let mut values = vec![0.0; tensor.cols()];
    for row in 0..tensor.rows() {
        tensor.read_row(row, &mut values);
        if let Some(column) = values.iter().position(|value| !value.is_finite()) {
            let (name, value) = (&half.name, values[column]);
            let problem = format!("tensor {name} has {value} in row {row}, column {column}");
            let cure = "training has failed, or the file is damaged: get it again";
            return Err(OpenError::misplaced(path, problem, cure));
        }
    }
    Ok(tensor)
}

/// A tensor of an unquantized type with the same values; `None` where that would take more than
/// four times its bytes.
fn unquantized(tensor: &Tensor) -> Option<Tensor> {
    if !tensor.dtype().is_quantized() {
        return Some(tensor.clone());
    }
    if tensor.elements() > tensor.len() {
        return None;
    }
    let mut bytes = Vec::with_capacity(4 * tensor.elements());
    let mut values = vec![0.0; tensor.cols()];
    for row in 0..tensor.rows() {
        tensor.read_row(row, &mut values);
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    Tensor::from_bytes(DType::F32, tensor.shape(), FileBytes::from_vec(bytes))
}
