//! How probable tokens are to the model.

use super::Candidates;
use std::fmt::Debug;

/// The probability of a token and of the likeliest ones, as logarithms, by the model alone: before
/// bias, mask and samplers.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// The likeliest tokens, best first, with the logarithms of their probabilities.
    pub top: Vec<(u32, f64)>,
}

impl Logprobs {
    /// Of `token` and of the `n` likeliest tokens, given the `logits` of all. Negative infinity
    /// stands for a probability of 0.
    ///
    /// # Panics
    /// When `token` has no logit.
    pub fn of(logits: &[f32], token: u32, n: usize) -> Self {
        let mut candidates = Candidates::new();
        let logit = f64::from(logits[token as usize]);
        if candidates.fill(logits, |_| true).is_err() {
            let (logprob, top) = (f64::NEG_INFINITY, Vec::new());
            return Self {
                token,
                logprob,
                top,
            };
        }
        let best = f64::from(candidates.best().logit);
        let sum: f64 = candidates
            .as_slice()
            .iter()
            .map(|c| libm::exp(f64::from(c.logit) - best))
            .sum();
        let log_sum = best + libm::log(sum);
        candidates.keep_best(n);
        candidates.sort();
        let top = candidates.as_slice().iter().take(n);
        Self {
            token,
            logprob: logit - log_sum,
            top: top.map(|c| (c.id, f64::from(c.logit) - log_sum)).collect(),
        }
    }
}

/// Somebody who wants to see what tokens are drawn from.
pub trait Observer: Debug + Send {
    /// `token` was drawn where the model gave `logits`.
    fn drawn(&mut self, logits: &[f32], token: u32);
}
