//! Tokens that occurred recently become less likely.

use super::{Candidates, Filter};

/// The repetition penalty of CTRL (arXiv 1909.05858): the logit of every token among the last ones, however
/// often it occurs there, is divided by the penalty when positive and multiplied by it when negative.
#[derive(Debug, Clone)]
pub struct RepetitionPenalty {
    penalty: f32,
    last_n: usize,
    recent: Vec<u32>,
}

impl RepetitionPenalty {
    /// With `penalty` above 0 (above 1 it discourages), for the last `last_n` tokens of the history.
    pub fn new(penalty: f32, last_n: usize) -> Self {
        Self {
            penalty,
            last_n,
            // Larger windows grow with the history.
            recent: Vec::with_capacity(last_n.min(4096)),
        }
    }
}

impl Filter for RepetitionPenalty {
    fn apply(&mut self, candidates: &mut Candidates, history: &[u32]) {
        let start = history.len().saturating_sub(self.last_n);
        self.recent.clear();
        self.recent.extend_from_slice(&history[start..]);
        self.recent.sort_unstable();
        self.recent.dedup();
        for &id in &self.recent {
            let penalty = self.penalty;
            candidates.change(id, |logit| {
                if logit < 0.0 {
                    logit * penalty
                } else {
                    logit / penalty
                }
            });
        }
    }
}
