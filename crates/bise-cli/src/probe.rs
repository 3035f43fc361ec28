//! Running models for the quantizer, which has none: see [`bise_quantize::Prober`].

use anyhow::{Context as _, Result};
use bise_model::CONTRACT;
use bise_model::streamed::logits_after;
use bise_quantize::Prober;
use bise_tensor::threads::{Threads, usable_cores};
use std::path::Path;

/// Bytes of weights that may be laid out at a time.
const MOST: u64 = 1 << 30;

/// A pool of `count` threads, or of one for each physical core that the process may use.
pub fn threads(count: Option<u16>) -> Result<Threads> {
    Threads::new(count.map_or_else(usable_cores, usize::from)).context("cannot start threads")
}

/// Runs models a layer at a time.
pub struct LayerByLayer(pub Threads);

impl Prober for LayerByLayer {
    fn logits(&self, path: &Path, prompts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, String> {
        let (checkpoint, _) = bise_quantize::open(path).map_err(|error| error.to_string())?;
        self.0
            .run(|| logits_after(checkpoint, prompts, MOST))
            .map_err(|error| error.to_string())
    }

    fn arithmetic(&self) -> u32 {
        CONTRACT
    }
}
