//! Where what is no number begins.
//!
//! In f32 a NaN never goes away, and neither does an infinity for long. So the engine looks at the
//! end only, which costs nothing, and here it is found out which step was the first to make one of
//! finite numbers.

use crate::decoder::{Step, finite};
use crate::error::NotANumber;
use crate::loading::{find_bad_weight, find_in_tensor, step_tensors};
use crate::model::Model;
use bise_format::TensorName;
use bise_kernels::ops::KvType;

/// Looks at the steps of a pass for the first whose result is not finite.
pub(crate) struct Finder {
    mixture: bool,
    /// The layer and the step.
    found: Option<(usize, Step)>,
    /// The largest magnitude among the keys and values of the layer at work.
    cached: f32,
}

impl Finder {
    /// For a mixture of experts, or a dense model.
    pub fn new(mixture: bool) -> Self {
        Self {
            mixture,
            found: None,
            cached: 0.0,
        }
    }

    /// Looks at what comes out of a step.
    pub fn see(&mut self, layer: usize, step: Step, values: &[f32]) {
        if self.found.is_some() {
            return;
        }
        if !finite(values) {
            self.found = Some((layer, step));
        }
        let max = || values.iter().fold(0f32, |max, x| max.max(x.abs()));
        match step {
            Step::Key => self.cached = max(),
            Step::Value => self.cached = self.cached.max(max()),
            _ => {}
        }
    }

    /// Why the step that was found had such a result, in a pass over `tokens`.
    pub fn explain(&self, model: &Model, kind: KvType, tokens: &[u32]) -> NotANumber {
        let Some((layer, step)) = self.found else {
            return NotANumber {
                place: "the text before".to_owned(),
                cause: UNEXPLAINED.to_owned(),
            };
        };
        let checkpoint = model.checkpoint();
        let (place, tensors) = step_tensors(step, layer, self.mixture);
        let find = |name: &TensorName| match (name, checkpoint.output_is_tied()) {
            (TensorName::Output, true) => find_in_tensor(checkpoint, TensorName::Embedding),
            _ => find_in_tensor(checkpoint, *name),
        };
        let weight = match (step, checkpoint.tensor(TensorName::Embedding)) {
            (Step::Embeddings, Some(tensor)) => {
                let rows = tokens.iter().map(|&token| token as usize);
                find_bad_weight(TensorName::Embedding, tensor, rows)
            }
            _ => tensors.iter().find_map(find),
        };
        let most = kind.largest();
        let cause = match weight {
            Some(weight) => weight.to_string(),
            None if step == Step::Heads && self.cached > most => format!(
                "a key or value of {} is more than the {most} that the cache holds; a cache in f32 \
                 (--kv-type f32) holds it",
                self.cached
            ),
            None => UNEXPLAINED.to_owned(),
        };
        NotANumber { place, cause }
    }
}

const UNEXPLAINED: &str = "the weights that it takes are finite, and their sums too large for numbers of 32 bits: \
                           weights before it are damaged, or scaled wrongly";
