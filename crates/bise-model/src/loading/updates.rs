//! What adapters change of a model, by its matrices.

use crate::error::LoadError;
use bise_format::TensorName;
use bise_format::adapter::{LowRank, ScaledAdapter};
use bise_format::checkpoint::Checkpoint;
use std::collections::BTreeMap;

/// The updates of each matrix, in the order in which adapters are given.
#[derive(Default)]
pub(crate) struct Updates(BTreeMap<TensorName, Vec<LowRank>>);

impl Updates {
    /// Those of `adapters` for the model in `checkpoint`, whose heads have `head_dim` values.
    ///
    /// # Errors
    /// When an adapter does not fit the model.
    pub fn new(
        adapters: &[ScaledAdapter],
        checkpoint: &Checkpoint,
        head_dim: usize,
    ) -> Result<Self, LoadError> {
        let mut updates: BTreeMap<_, Vec<LowRank>> = BTreeMap::new();
        for adapter in adapters {
            for update in adapter.updates(checkpoint, head_dim)? {
                updates.entry(update.target).or_default().push(update);
            }
        }
        Ok(Self(updates))
    }

    /// Those of the matrix `target`.
    pub fn of(&self, target: TensorName) -> &[LowRank] {
        self.0.get(&target).map_or(&[], Vec::as_slice)
    }

    /// All of them, in the order of the matrices' names.
    pub fn all(&self) -> impl Iterator<Item = &LowRank> {
        self.0.values().flatten()
    }

    /// The largest rank; 0 if there are none.
    pub fn rank(&self) -> usize {
        self.all().map(LowRank::rank).max().unwrap_or(0)
    }
}
