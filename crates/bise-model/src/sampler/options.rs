//! The options of `bise run`, and the chain of filters they stand for.

use super::{Chain, Greedy, MinP, RepetitionPenalty, SamplerError, Temperature, TopK, TopP};

/// How to choose tokens. The defaults write varied, sensible text.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// Logits are divided by this: below 1 the likely gets likelier. 0 takes the most likely token always.
    pub temperature: f32,
    /// Only this many of the most likely tokens are considered; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that together have this probability are considered; 1 for all.
    pub top_p: f32,
    /// Only tokens with this share of the most likely token's probability are considered; 0 for all.
    pub min_p: f32,
    /// How much less likely tokens become that occurred recently; 1 for no less.
    pub repeat_penalty: f32,
    /// How many of the last tokens count as recent.
    pub repeat_last_n: usize,
    /// The same seed gives the same text; `None` for a random seed, which the sampler then tells.
    pub seed: Option<u64>,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            seed: None,
        }
    }
}

impl SamplerOptions {
    /// Always the most likely token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// The filters these options stand for, in the order of [the module](super).
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn chain(&self) -> Result<Chain, SamplerError> {
        self.validate()?;
        let mut chain = Chain::new();
        if self.repeat_penalty != 1.0 && self.repeat_last_n > 0 {
            chain.push(RepetitionPenalty::new(self.repeat_penalty, self.repeat_last_n));
        }
        if self.temperature == 0.0 {
            chain.push(Greedy);
            return Ok(chain);
        }
        if self.temperature != 1.0 {
            chain.push(Temperature(self.temperature));
        }
        if self.top_k > 0 {
            chain.push(TopK(self.top_k));
        }
        if self.top_p < 1.0 {
            chain.push(TopP(self.top_p));
        }
        if self.min_p > 0.0 {
            chain.push(MinP(self.min_p));
        }
        Ok(chain)
    }

    fn validate(&self) -> Result<(), SamplerError> {
        let unit = "a number from 0 to 1";
        let checks = [
            (
                "temperature",
                self.temperature,
                self.temperature >= 0.0,
                "0 or a positive number",
            ),
            ("top_p", self.top_p, (0.0..=1.0).contains(&self.top_p), unit),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), unit),
            (
                "repeat_penalty",
                self.repeat_penalty,
                self.repeat_penalty > 0.0,
                "a positive number",
            ),
        ];
        for (option, found, in_range, expected) in checks {
            if !in_range || !found.is_finite() {
                return Err(SamplerError::Option {
                    option,
                    found: found.to_string(),
                    expected,
                });
            }
        }
        Ok(())
    }
}
