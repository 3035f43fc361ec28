//! All weights of a model.

use super::loader::{LoadOptions, Loader};
use super::store::Store;
use super::streamed::Streamed;
use super::updates::Updates;
use crate::config::Config;
use crate::decoder::{Embedding, Linear, RmsNorm};
use crate::error::LoadError;
use bise_format::TensorName;
use bise_format::checkpoint::Checkpoint;
use std::sync::Arc;

/// The weights outside the blocks, and the blocks.
pub(crate) struct Weights {
    /// `[vocabulary, dim]`, looked up by row.
    pub tok_embeddings: Embedding,
    pub blocks: Store,
    pub norm: RmsNorm,
    /// `[vocabulary, dim]`; the embeddings themselves when the file has none.
    pub output: Linear,
    /// The largest rank of the updates; 0 if there are none.
    pub rank: usize,
}

impl Weights {
    /// Finds all tensors that `config` asks for, checks their shapes, and brings them into memory,
    /// with `updates`.
    ///
    /// # Errors
    /// When one is absent, of another shape, damaged, or does not fit in memory.
    pub fn resident(
        checkpoint: &Checkpoint,
        config: &Config,
        options: &LoadOptions<'_>,
        updates: &Updates,
    ) -> Result<Self, LoadError> {
        let loader = Loader {
            checkpoint,
            config,
            options,
            updates,
        };
        let block = |layer| {
            loader.block(layer, |mixture| {
                let experts = (0..mixture.count).map(|e| loader.expert(layer, e));
                Ok(Box::new(experts.collect::<Result<Vec<_>, _>>()?))
            })
        };
        with_blocks(&loader, || {
            let blocks = (0..config.layers.len()).map(block);
            Ok(Store::Resident(blocks.collect::<Result<_, _>>()?))
        })
    }

    /// As [`resident`](Self::resident), but for the blocks, which are looked for when they are
    /// used.
    ///
    /// # Errors
    /// As [`resident`](Self::resident).
    pub fn streamed(
        checkpoint: &Arc<Checkpoint>,
        config: &Config,
        updates: &Arc<Updates>,
    ) -> Result<Self, LoadError> {
        let loader = Loader {
            checkpoint,
            config,
            options: &LoadOptions::default(),
            updates,
        };
        with_blocks(&loader, || {
            let blocks = Streamed::new(checkpoint.clone(), config.clone(), updates.clone());
            Ok(Store::Streamed(blocks))
        })
    }
}

/// The weights outside the blocks, and those that `blocks` gives.
fn with_blocks(
    loader: &Loader<'_>,
    blocks: impl FnOnce() -> Result<Store, LoadError>,
) -> Result<Weights, LoadError> {
    let (dim, vocabulary) = (loader.config.dim, loader.find(TensorName::Embedding)?.rows());
    let tok_embeddings = loader.embedding(vocabulary)?;
    let output = match loader.has(TensorName::Output) {
        true => loader.linear(TensorName::Output, vocabulary, dim)?,
        false => {
            let table = &tok_embeddings.table;
            loader.lay_out(TensorName::Embedding, TensorName::Output, table)?
        }
    };
    Ok(Weights {
        norm: loader.norm(TensorName::OutputNorm)?,
        blocks: blocks()?,
        tok_embeddings,
        output,
        rank: loader.updates.rank(),
    })
}
