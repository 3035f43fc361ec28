//! Tokens that occurred recently become less likely.

use super::{Candidates, Filter, Step};

/// Three penalties for tokens among the last `last_n` of the history, in this order:
///
/// - `repeat`, however often the token occurs, divides its logit when positive and multiplies it
///   when negative (CTRL, arXiv 1909.05858);
/// - `frequency` is subtracted from its logit as often as the token occurs;
/// - `presence` is subtracted from it once.
#[derive(Debug, Clone)]
pub struct Penalties {
    repeat: f32,
    frequency: f32,
    presence: f32,
    last_n: usize,
    recent: Vec<u32>,
    counts: Vec<(u32, f32)>,
}

impl Penalties {
    /// `repeat` is above 0, and 1 for none (above 1 it discourages); `frequency` and `presence` are
    /// 0 for none.
    pub fn new(repeat: f32, frequency: f32, presence: f32, last_n: usize) -> Self {
        // Larger windows grow with the history.
        let room = last_n.min(4096);
        Self {
            repeat,
            frequency,
            presence,
            last_n,
            recent: Vec::with_capacity(room),
            counts: Vec::with_capacity(room),
        }
    }
}

impl Filter for Penalties {
    fn apply(&mut self, candidates: &mut Candidates, step: &Step<'_>) {
        let start = step.history.len().saturating_sub(self.last_n);
        self.recent.clear();
        self.recent.extend_from_slice(&step.history[start..]);
        self.recent.sort_unstable();
        self.counts.clear();
        let runs = self.recent.chunk_by(|a, b| a == b);
        self.counts.extend(runs.map(|run| (run[0], run.len() as f32)));
        let (repeat, frequency, presence) = (self.repeat, self.frequency, self.presence);
        candidates.change(&self.counts, |logit, count| {
            let repeated = if logit < 0.0 {
                logit * repeat
            } else {
                logit / repeat
            };
            repeated - (count * frequency + presence)
        });
    }
}
