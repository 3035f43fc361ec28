//! Choosing the next token.
//!
//! A chain of filters changes or removes candidates, then one of the rest is drawn. The order is
//!
//! 1. [`RepetitionPenalty`] over the last tokens,
//! 2. [`Temperature`], or [`Greedy`] where it is 0, which ends the chain,
//! 3. [`TopK`],
//! 4. [`TopP`], of the probabilities that the candidates have after top-k,
//! 5. [`MinP`].
//!
//! This is the order, and each filter has the meaning, of the Transformers library; llama.cpp has the same
//! filters but applies the temperature last. A [`Chain`] of one's own can have any order, and filters of
//! one's own.
//!
//! The same seed gives the same text on every machine: logits are changed in f32 by single operations,
//! probabilities are computed in f64 with `libm` and added up in one order, and ties break on the lower id.
//! Tokens can be excluded beforehand by a logit of negative infinity.
//!
//! ```
//! use bise_model::sampler::{Sampler, SamplerOptions};
//!
//! let mut sampler = Sampler::new(SamplerOptions { seed: Some(7), ..Default::default() })?;
//! let token = sampler.sample(&[0.5, 9.0, -3.0], &[])?;
//! assert_eq!(token, 1);
//! # Ok::<(), bise_model::sampler::SamplerError>(())
//! ```

mod candidates;
mod chain;
mod draw;
mod error;
mod min_p;
mod options;
mod repetition;
mod state;
mod temperature;
mod top_k;
mod top_p;

use std::hash::{BuildHasher, RandomState};

pub use candidates::{Candidate, Candidates};
pub use chain::{Chain, Filter};
pub use error::SamplerError;
pub use min_p::MinP;
pub use options::SamplerOptions;
pub use repetition::RepetitionPenalty;
pub use state::SamplerState;
pub use temperature::{Greedy, Temperature};
pub use top_k::TopK;
pub use top_p::TopP;

use draw::Draw;

/// Chooses tokens, one after the other. Allocates in its first call only, or when the vocabulary grows.
#[derive(Debug)]
pub struct Sampler {
    chain: Chain,
    draw: Draw,
    candidates: Candidates,
    seed: u64,
    draws: u64,
}

impl Sampler {
    /// A sampler with the filters that `options` stand for.
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn new(options: SamplerOptions) -> Result<Self, SamplerError> {
        let seed = options.seed.unwrap_or_else(random_seed);
        Ok(Self::with_chain(options.chain()?, seed))
    }

    /// A sampler with filters of one's own.
    pub fn with_chain(chain: Chain, seed: u64) -> Self {
        Self {
            chain,
            draw: Draw::new(seed),
            candidates: Candidates::new(),
            seed,
            draws: 0,
        }
    }

    /// The seed, which gives the same text again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The next token after `history`, the prompt and all tokens so far, given the `logits` of all tokens.
    ///
    /// # Errors
    /// When a logit is NaN or positive infinity, or all are negative infinity. No random number is used up
    /// then.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, SamplerError> {
        self.sample_at(self.draws, logits, history)
    }

    /// As [`sample`](Self::sample), with the random number of token `draw` of the text, counted from 0; the next call of
    /// `sample` takes that of `draw + 1`.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_at(&mut self, draw: u64, logits: &[f32], history: &[u32]) -> Result<u32, SamplerError> {
        self.candidates.fill(logits)?;
        self.chain.apply(&mut self.candidates, history);
        let token = self.draw.draw(draw, &mut self.candidates);
        self.draws = draw + 1;
        Ok(token)
    }

    /// What the sampler knows, to [`restore`](Self::restore) later, in this sampler or in one of the same options.
    pub fn state(&self) -> SamplerState {
        SamplerState {
            seed: self.seed,
            draws: self.draws,
            memories: Vec::new(),
        }
    }

    /// Goes on where a sampler was when it gave `state`.
    ///
    /// # Errors
    /// When the state is of a sampler whose filters learn other things; nothing changes then.
    pub fn restore(&mut self, state: &SamplerState) -> Result<(), SamplerError> {
        if !state.memories.is_empty() {
            let problem = "the sampler's state is of another chain of samplers".to_owned();
            return Err(SamplerError::State { problem });
        }
        if self.seed != state.seed {
            self.draw = Draw::new(state.seed);
        }
        (self.seed, self.draws) = (state.seed, state.draws);
        Ok(())
    }

    /// The candidates that the last token was drawn from, best first.
    pub fn candidates(&self) -> &[Candidate] {
        self.candidates.as_slice()
    }
}

/// A seed that the standard library takes from the operating system.
fn random_seed() -> u64 {
    RandomState::new().hash_one(std::time::SystemTime::now())
}
