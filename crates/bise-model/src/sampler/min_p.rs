//! Only candidates that can compete with the best.

use super::{Candidates, Filter, Step};

/// Keeps the candidates whose probability is at least `p` times that of the best (arXiv
/// 2407.01082).
#[derive(Debug, Clone, Copy)]
pub struct MinP(pub f32);

impl Filter for MinP {
    fn apply(&mut self, candidates: &mut Candidates, _: &Step<'_>) {
        let (best, p) = (f64::from(candidates.best().logit), f64::from(self.0));
        candidates.retain(|c| libm::exp(f64::from(c.logit) - best) >= p);
    }
}
