//! Only the nucleus of the distribution.

use super::{Candidates, Filter, Step};

/// Keeps the fewest best candidates whose probabilities add up to `p` or more (arXiv 1904.09751),
/// at least one.
#[derive(Debug, Clone, Copy)]
pub struct TopP(pub f32);

impl Filter for TopP {
    fn apply(&mut self, candidates: &mut Candidates, _: &Step<'_>) {
        let (_, weights) = candidates.weights();
        let target = f64::from(self.0) * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let reached = weights.iter().position(|weight| {
            sum += weight;
            sum >= target
        });
        if let Some(last) = reached {
            candidates.keep_best(last + 1);
        }
    }
}
