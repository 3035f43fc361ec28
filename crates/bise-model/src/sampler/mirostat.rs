//! A text of constant surprise.

use super::{Candidate, Candidates, Filter, Step};

/// Mirostat 2 (arXiv 2007.14966): keeps the candidates whose surprise `-log2(probability)` is at
/// most `mu`, at least one, and after each token moves `mu` so that the tokens' mean surprise
/// becomes the target:
///
/// ```text
/// mu = mu - rate * (surprise - target)      at first 2 * target
/// ```
///
/// As in the paper, the surprise of a token is the one it has among all candidates, not among those
/// that were kept: it is the text's perplexity under the model that is held. (llama.cpp takes the
/// latter, and so gives text of a higher perplexity than asked for.) Nothing may follow it in a
/// chain.
#[derive(Debug, Clone, Copy)]
pub struct Mirostat {
    target: f64,
    rate: f64,
    mu: f64,
    /// The best logit.
    best: f64,
    /// The natural logarithm of the sum of `exp(logit - best)`.
    log_sum: f64,
}

impl Mirostat {
    /// For a mean surprise of `target` bits, above 0, and a learning `rate`, 0 or above.
    pub fn new(target: f32, rate: f32) -> Self {
        Self {
            target: f64::from(target),
            rate: f64::from(rate),
            mu: 2.0 * f64::from(target),
            best: 0.0,
            log_sum: 0.0,
        }
    }

    fn surprise(&self, candidate: Candidate) -> f64 {
        (self.best - f64::from(candidate.logit) + self.log_sum) / std::f64::consts::LN_2
    }
}

impl Filter for Mirostat {
    fn apply(&mut self, candidates: &mut Candidates, _: &Step<'_>) {
        let (list, weights) = candidates.weights();
        (self.best, self.log_sum) = (f64::from(list[0].logit), libm::log(weights.iter().sum()));
        let kept = list.iter().take_while(|&&c| self.surprise(c) <= self.mu).count();
        candidates.keep_best(kept);
    }

    fn accept(&mut self, candidate: Candidate) {
        self.mu -= self.rate * (self.surprise(candidate) - self.target);
    }

    fn state(&self) -> Option<f64> {
        Some(self.mu)
    }

    fn restore(&mut self, mu: f64) {
        self.mu = mu;
    }
}
