//! Who chooses the next token.

use crate::error::GenerateError;
use crate::sampler::Sampler;

/// Chooses tokens, one after the other: a [`Sampler`], or what stands in for it.
///
/// It is asked exactly once for each token of the text, in order, whether or not tokens are
/// drafted.
pub trait TokenSampler {
    /// The next token after `history`, the prompt and all tokens so far, given the `logits` of all
    /// tokens.
    ///
    /// # Errors
    /// When no token can be chosen.
    fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, GenerateError>;

    /// What will probably be chosen `ahead` tokens from now, if `history` then comes before it and
    /// a smaller model gives `logits`: the likeliest token, if nothing better is known. What is
    /// chosen later does not depend on it.
    ///
    /// # Errors
    /// When there is no guess.
    fn draft(
        &mut self,
        ahead: usize,
        logits: &[f32],
        history: &[u32],
    ) -> Result<u32, GenerateError> {
        let _ = (ahead, history);
        let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
        (0..logits.len())
            .reduce(better)
            .map(|token| token as u32)
            .ok_or(GenerateError::Empty)
    }
}

impl TokenSampler for Sampler {
    fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, GenerateError> {
        Ok(Self::sample(self, logits, history)?)
    }

    /// Draws with the random numbers that the token will be drawn with.
    fn draft(
        &mut self,
        ahead: usize,
        logits: &[f32],
        history: &[u32],
    ) -> Result<u32, GenerateError> {
        Ok(self.peek(ahead as u64, logits, history)?)
    }
}
