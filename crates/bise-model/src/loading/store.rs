//! Where the weights of blocks come from: they stay in memory, or come a layer at a time.

use super::streamed::Streamed;
use crate::decoder::{Block, Held};
use crate::error::LoadError;

/// The blocks of a model.
pub(crate) enum Store {
    /// All of them are in memory.
    Resident(Vec<Block>),
    /// One at a time is brought into memory when it is needed, and of its experts one at a time.
    Streamed(Streamed),
}

impl Store {
    /// A block.
    ///
    /// # Errors
    /// When it is not in memory and cannot be brought there.
    pub fn block(&self, layer: usize) -> Result<Held<'_, Block>, LoadError> {
        match self {
            Self::Resident(blocks) => Ok(Held::Resident(&blocks[layer])),
            Self::Streamed(blocks) => Ok(Held::Loaded(Box::new(blocks.block(layer)?))),
        }
    }
}
