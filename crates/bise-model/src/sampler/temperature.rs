//! Flatter or steeper probabilities, up to certainty.

use super::{Candidates, Filter, Step};

/// Divides logits by the temperature, above 0.
#[derive(Debug, Clone, Copy)]
pub struct Temperature(pub f32);

impl Filter for Temperature {
    fn apply(&mut self, candidates: &mut Candidates, _: &Step<'_>) {
        candidates.map(|logit| logit / self.0);
    }
}

/// Keeps the best candidate alone: temperature 0.
#[derive(Debug, Clone, Copy)]
pub struct Greedy;

impl Filter for Greedy {
    fn apply(&mut self, candidates: &mut Candidates, _: &Step<'_>) {
        candidates.keep_best(1);
    }
}
