//! Flatter or steeper probabilities, up to certainty.

use super::{Candidates, Filter, Step};

/// Temperatures below are as good as 0: neighbouring numbers of f32 from 1/100 on are then so far
/// apart that the lesser has no chance, and quotients do not overflow.
const AS_GOOD_AS_ZERO: f32 = 1e-10;

/// Divides logits by the temperature, at least 0. One so small that only the best candidate has a
/// chance is [`Greedy`].
#[derive(Debug, Clone, Copy)]
pub struct Temperature(pub f32);

impl Filter for Temperature {
    fn apply(&mut self, candidates: &mut Candidates, step: &Step<'_>) {
        if self.0 <= AS_GOOD_AS_ZERO {
            return Greedy.apply(candidates, step);
        }
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
