//! Without the obvious.

use super::random::Stream;
use super::{Candidates, Filter, Step};

/// Exclude Top Choices: with some probability, of the candidates that are at least as probable as a
/// threshold all but the least probable are taken away. What is left is still sensible, but not
/// what comes first to mind.
#[derive(Debug, Clone, Copy)]
pub struct Xtc {
    /// How often it acts, from 0 to 1.
    pub probability: f32,
    /// Which candidates are probable enough to do without the others, from 0 to 1; above 0.5 there
    /// are never two.
    pub threshold: f32,
}

impl Filter for Xtc {
    fn apply(&mut self, candidates: &mut Candidates, step: &Step<'_>) {
        if step.random.uniform(Stream::Xtc) >= f64::from(self.probability) {
            return;
        }
        let (_, weights) = candidates.weights();
        let least = f64::from(self.threshold) * weights.iter().sum::<f64>();
        let choices = weights.iter().take_while(|&&weight| weight >= least).count();
        candidates.leave_out_best(choices.saturating_sub(1));
    }
}
