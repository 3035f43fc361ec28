//! Running models for the quantizer, which has none: see [`bise_quantize::Prober`].

use crate::progress::{self, Bar};
use bise_format::checkpoint::Checkpoint;
use bise_kernels::threads::Threads;
use bise_model::CONTRACT;
use bise_model::streamed::logits_after;
use bise_quantize::Prober;

/// Bytes of weights that may be laid out at a time.
const MOST: u64 = 1 << 30;

/// Runs models a layer at a time.
pub struct LayerByLayer(pub Threads);

impl Prober for LayerByLayer {
    fn logits(&self, model: Checkpoint, prompts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, String> {
        progress::clear();
        let bar = Bar::count("running the model", 0, "layers");
        let progress = |done, layers| bar.set_of(done, layers);
        let logits = self.0.run(|| logits_after(model, prompts, MOST, &progress));
        logits.map_err(|error| error.to_string())
    }

    fn arithmetic(&self) -> u32 {
        CONTRACT
    }
}
