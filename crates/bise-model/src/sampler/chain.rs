//! Filters, one after the other.

use std::fmt::Debug;

use super::{Candidate, Candidates, Random};

/// What a filter may look at besides the candidates.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// All tokens so far, the prompt's included.
    pub history: &'a [u32],
    /// The random numbers of this token.
    pub random: Random,
}

/// A step of sampling: changes the candidates' logits, or takes some away.
pub trait Filter: Debug + Send {
    /// Works on `candidates`.
    fn apply(&mut self, candidates: &mut Candidates, step: &Step<'_>);

    /// Is told which of the candidates was drawn at last.
    fn accept(&mut self, _: Candidate) {}

    /// What the filter has learnt from the tokens drawn so far: a number, if there is any.
    fn state(&self) -> Option<f64> {
        None
    }

    /// Goes back to what [`state`](Self::state) gave.
    fn restore(&mut self, _: f64) {}
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

    pub(super) fn apply(&mut self, candidates: &mut Candidates, step: &Step<'_>) {
        for filter in &mut self.0 {
            filter.apply(candidates, step);
        }
    }

    pub(super) fn accept(&mut self, candidate: Candidate) {
        for filter in &mut self.0 {
            filter.accept(candidate);
        }
    }

    /// What the filters have learnt, of those that learn.
    pub(super) fn state(&self) -> Vec<f64> {
        self.0.iter().filter_map(|filter| filter.state()).collect()
    }

    /// Goes back to what [`state`](Self::state) gave; false, and nothing changes, when there are
    /// more or fewer.
    pub(super) fn restore(&mut self, memories: &[f64]) -> bool {
        let mut learning: Vec<_> = self.0.iter_mut().filter(|f| f.state().is_some()).collect();
        if learning.len() != memories.len() {
            return false;
        }
        for (filter, &memory) in learning.iter_mut().zip(memories) {
            filter.restore(memory);
        }
        true
    }
}
