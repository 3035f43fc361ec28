//! All weights of a model.

use super::loader::{LoadOptions, Loader};
use super::store::Store;
use super::streamed::Streamed;
use crate::config::Config;
use crate::decoder::{Linear, RmsNorm};
use crate::error::LoadError;
use bise_format::TensorName;
use bise_format::checkpoint::Checkpoint;
use bise_kernels::tensor::Tensor;
use std::sync::Arc;

/// The weights outside the blocks, and the blocks.
pub(crate) struct Weights {
    /// `[vocabulary, dim]`, looked up by row.
    pub tok_embeddings: Tensor,
    pub blocks: Store,
    pub norm: RmsNorm,
    /// `[vocabulary, dim]`; the embeddings themselves when the file has none.
    pub output: Linear,
}

impl Weights {
    /// Finds all tensors that `config` asks for, checks their shapes, and brings them into memory.
    ///
    /// # Errors
    /// When one is absent, of another shape, damaged, or does not fit in memory.
    pub fn resident(
        checkpoint: &Checkpoint,
        config: &Config,
        options: &LoadOptions<'_>,
    ) -> Result<Self, LoadError> {
        let loader = Loader {
            checkpoint,
            config,
            options,
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
    pub fn streamed(checkpoint: &Arc<Checkpoint>, config: &Config) -> Result<Self, LoadError> {
        let loader = Loader {
            checkpoint,
            config,
            options: &LoadOptions::default(),
        };
        with_blocks(&loader, || {
            let blocks = Streamed::new(checkpoint.clone(), config.clone());
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
    let tok_embeddings = loader.shaped(TensorName::Embedding, &[vocabulary, dim])?;
    let tok_embeddings = loader.fetch(TensorName::Embedding, &tok_embeddings)?;
    let output = match loader.has(TensorName::Output) {
        true => loader.linear(TensorName::Output, vocabulary, dim)?,
        false => loader.lay_out(TensorName::Embedding, &tok_embeddings)?,
    };
    Ok(Weights {
        norm: loader.norm(TensorName::OutputNorm)?,
        blocks: blocks()?,
        tok_embeddings,
        output,
    })
}
