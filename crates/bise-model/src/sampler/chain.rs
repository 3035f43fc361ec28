//! Filters, one after the other.

use std::fmt::Debug;

use super::Candidates;

/// A step of sampling: changes the candidates' logits, or takes some away.
pub trait Filter: Debug + Send {
    /// Works on `candidates`, where `history` is all tokens so far, the prompt's included.
    fn apply(&mut self, candidates: &mut Candidates, history: &[u32]);
}

/// Filters in the order in which they work.
#[derive(Debug, Default)]
pub struct Chain(Vec<Box<dyn Filter>>);

impl Chain {
    /// No filters: candidates stay as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `filter` at the end.
    pub fn push(&mut self, filter: impl Filter + 'static) {
        self.0.push(Box::new(filter));
    }
}

impl Filter for Chain {
    fn apply(&mut self, candidates: &mut Candidates, history: &[u32]) {
        for filter in &mut self.0 {
            filter.apply(candidates, history);
        }
    }
}
