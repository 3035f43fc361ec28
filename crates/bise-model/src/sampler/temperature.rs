//! Flatter or steeper probabilities, up to certainty.

use super::{Candidates, Filter};

/// Divides logits by the temperature, above 0.
#[derive(Debug, Clone, Copy)]
pub struct Temperature(pub f32);

impl Filter for Temperature {
    fn apply(&mut self, candidates: &mut Candidates, _: &[u32]) {
        candidates.map(|logit| logit / self.0);
    }
}

/// Keeps the best candidate alone: temperature 0.
#[derive(Debug, Clone, Copy)]
pub struct Greedy;

impl Filter for Greedy {
    fn apply(&mut self, candidates: &mut Candidates, _: &[u32]) {
        candidates.keep_best(1);
    }
}
