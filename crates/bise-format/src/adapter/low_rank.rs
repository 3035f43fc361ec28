//! An adapter held against a model: which of its matrices change, and by what.

use super::error::AdapterError;
use super::pair::Pair;
use super::stored::Adapter;
use crate::TensorName;
use crate::checkpoint::Checkpoint;
use crate::llama::Architecture;
use bise_kernels::tensor::{RowOrder, Tensor};
use std::fmt;

/// An adapter, and how strongly it counts.
#[derive(Clone)]
pub struct ScaledAdapter {
    /// The adapter.
    pub adapter: Adapter,
    /// What its updates are multiplied by, besides what its files say; 1 as it was trained.
    pub scale: f32,
}

/// An update of a model's matrix: `scale * b a`, in the order of rows that the model has.
#[derive(Clone)]
pub struct LowRank {
    /// The matrix; of a mixture the expert's own, whether they are stacked or not.
    pub target: TensorName,
    /// `[rank, columns]`
    pub a: Tensor,
    /// `[rows, rank]`
    pub b: Tensor,
    /// Not 0, and finite.
    pub scale: f32,
}

impl fmt::Debug for LowRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, scale, .. } = self;
        write!(f, "LowRank({target}, {scale})")
    }
}

impl ScaledAdapter {
    /// The updates of the matrices of `checkpoint`, whose heads have `head_dim` values. None where
    /// the scale is 0.
    ///
    /// # Errors
    /// When the model lacks a matrix, has it in another shape, or is of another architecture.
    pub fn updates(
        &self,
        checkpoint: &Checkpoint,
        head_dim: usize,
    ) -> Result<Vec<LowRank>, AdapterError> {
        let adapter = &self.adapter;
        let path = || adapter.path.clone();
        let expected = checkpoint.metadata.str("general.architecture").ok().flatten();
        // All that runs is one block, whatever its file calls it.
        let runs = |name: &str| Architecture::from_name(name).is_some();
        if let (Some(found), Some(expected)) = (&adapter.architecture, expected)
            && found != expected
            && !(runs(found) && runs(expected))
        {
            return Err(AdapterError::Architecture {
                path: path(),
                found: found.clone(),
                expected: expected.to_owned(),
            });
        }
        for (target, name, tensor) in &adapter.repeated {
            if !is_copy(tensor, *target, checkpoint) {
                return Err(AdapterError::Replaced {
                    path: path(),
                    tensor: name.clone(),
                });
            }
        }
        let mut updates = Vec::new();
        for (&target, pair) in &adapter.pairs {
            let update = self.update(target, pair, checkpoint, head_dim)?;
            updates.extend((update.scale != 0.0).then_some(update));
        }
        Ok(updates)
    }

    fn update(
        &self,
        target: TensorName,
        pair: &Pair,
        checkpoint: &Checkpoint,
        head_dim: usize,
    ) -> Result<LowRank, AdapterError> {
        let path = || self.adapter.path.clone();
        let [a_name, b_name] = pair.names().map(str::to_owned);
        let Some([rows, columns]) = extents(target, checkpoint) else {
            return Err(AdapterError::Target {
                path: path(),
                tensor: a_name,
                target: target.to_string(),
            });
        };
        let rank = pair.rank();
        let halves = [
            (pair.a(), &a_name, [rank, columns]),
            (pair.b(), &b_name, [rows, rank]),
        ];
        for (half, name, expected) in halves {
            if half.shape() != expected {
                return Err(AdapterError::Shape {
                    path: path(),
                    tensor: name.clone(),
                    found: half.shape().to_vec(),
                    expected: expected.to_vec(),
                });
            }
        }
        let product = f64::from(self.scale) * pair.scale();
        let scale = product as f32;
        if !scale.is_finite() {
            return Err(AdapterError::Scale {
                path: path(),
                tensor: a_name,
                scale: self.scale,
                product,
            });
        }
        let b = match pair.halves_rotate {
            true => pair.b().clone().reordered(RowOrder::Interleaved { head_dim }),
            false => Some(pair.b().clone()),
        };
        let b = b.ok_or_else(|| AdapterError::Shape {
            path: path(),
            tensor: b_name,
            found: pair.b().shape().to_vec(),
            expected: vec![rows.next_multiple_of(head_dim.max(1)), rank],
        })?;
        let a = pair.a().clone();
        Ok(LowRank {
            target,
            a,
            b,
            scale,
        })
    }
}

/// Rows and columns of a matrix of the model. Without an output matrix of its own, a model has the
/// embeddings for one, of which an update of either leaves the other as it is.
fn extents(target: TensorName, checkpoint: &Checkpoint) -> Option<[usize; 2]> {
    let of = |tensor: &Tensor| match *tensor.shape() {
        [rows, columns] => Some([rows, columns]),
        [1, rows, columns] => Some([rows, columns]),
        _ => None,
    };
    if let Some(tensor) = checkpoint.tensor(target) {
        return of(tensor);
    }
    if target == TensorName::Output {
        return of(checkpoint.tensor(TensorName::Embedding)?);
    }
    let (stacked, expert) = target.of_expert()?;
    match *checkpoint.tensor(stacked)?.shape() {
        [count, rows, columns] if expert < count as u64 => Some([rows, columns]),
        _ => None,
    }
}

/// Whether `tensor` repeats a matrix of the model, but for the rounding of 16-bit types; of a
/// quantized one only the shape can tell.
fn is_copy(tensor: &Tensor, target: TensorName, checkpoint: &Checkpoint) -> bool {
    let own = checkpoint
        .tensor(target)
        .or_else(|| checkpoint.tensor(TensorName::Embedding));
    let Some(own) = own.filter(|own| own.shape() == tensor.shape()) else {
        return false;
    };
    let mut rows = [vec![0.0; own.cols()], vec![0.0; own.cols()]];
    own.dtype().is_quantized()
        || (0..own.rows()).all(|row| {
            let [one, other] = &mut rows;
            own.read_row(row, one);
            tensor.read_row(row, other);
            one.iter()
                .zip(&*other)
                .all(|(x, y)| (x - y).abs() <= x.abs() / 128.0 + 1e-6)
        })
}

impl LowRank {
    /// The width between the two matrices.
    pub fn rank(&self) -> usize {
        self.a.rows()
    }
}
