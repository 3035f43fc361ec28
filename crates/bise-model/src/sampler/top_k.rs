//! Only the most likely candidates.

use super::{Candidates, Filter, Step};

/// Keeps the `k` best candidates, at least one. Of equal logits the lower id is better: exactly `k`
/// stay.
#[derive(Debug, Clone, Copy)]
pub struct TopK(pub usize);

impl Filter for TopK {
    fn apply(&mut self, candidates: &mut Candidates, _: &Step<'_>) {
        candidates.keep_best(self.0);
    }
}
