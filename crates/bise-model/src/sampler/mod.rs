//! Choosing the next token.
//!
//! A [`Mask`] may forbid tokens, and a bias is added to the logits of some; then a chain of filters
//! changes or removes candidates, and one of the rest is drawn. The chain's default order is
//!
//! | name | filter |
//! |---|---|
//! | `penalties` | [`Penalties`]: repetition, frequency, presence |
//! | `dry` | [`Dry`]: going on with a repetition |
//! | `top-k` | [`TopK`] |
//! | `typical` | [`Typical`] |
//! | `top-p` | [`TopP`] |
//! | `min-p` | [`MinP`] |
//! | `xtc` | [`Xtc`]: leaving out top choices |
//! | `temperature` | [`Temperature`], or [`Greedy`] where it is 0 |
//!
//! which is llama.cpp's. The Transformers library has the temperature after the penalties; any
//! other order can be asked for too, and `mirostat` ([`Mirostat`]) as the last of a chain. Each
//! filter sees the probabilities that the candidates have after those before it. A [`Chain`] of
//! one's own can have filters of one's own.
//!
//! The same seed gives the same text on every machine: logits are changed in f32 by single
//! operations, probabilities are computed in f64 with `libm` and added up in one order, ties break
//! on the lower id, and the random numbers of token `i` depend on the seed and on `i` alone
//! ([`Random`]).
//!
//! ```
//! use bise_model::sampler::{Sampler, SamplerOptions};
//!
//! let mut sampler = Sampler::new(SamplerOptions { seed: Some(7), ..Default::default() })?;
//! let token = sampler.sample(&[0.5, 9.0, -3.0], &[])?;
//! assert_eq!(token, 1);
//! # Ok::<(), bise_model::sampler::SamplerError>(())
//! ```

mod breakers;
mod candidates;
mod chain;
mod draw;
mod dry;
mod error;
mod kind;
mod logprobs;
mod mask;
mod min_p;
mod mirostat;
mod options;
mod order;
mod penalties;
mod random;
mod state;
mod temperature;
mod top_k;
mod top_p;
mod typical;
mod xtc;

use std::hash::{BuildHasher, RandomState};

pub use breakers::Breakers;
pub use candidates::{Candidate, Candidates};
pub use chain::{Chain, Filter, Step};
pub use dry::{Dry, DryOptions};
pub use error::{MaskError, SamplerError};
pub use kind::SamplerKind;
pub use logprobs::{Logprobs, Observer};
pub use mask::Mask;
pub use min_p::MinP;
pub use mirostat::Mirostat;
pub use options::SamplerOptions;
pub use penalties::Penalties;
pub use random::{Random, Stream};
pub use state::SamplerState;
pub use temperature::{Greedy, Temperature};
pub use top_k::TopK;
pub use top_p::TopP;
pub use typical::Typical;
pub use xtc::Xtc;

use draw::draw;

/// Chooses tokens, one after the other. Allocates in its first call only, or when vocabulary or
/// history grow.
///
/// ```
/// use bise_model::sampler::{Sampler, SamplerOptions};
///
/// let default = SamplerOptions::default();
/// let options = SamplerOptions { temperature: 1.0, top_k: 2, seed: Some(7), ..default };
/// let mut sampler = Sampler::new(options.clone())?;
/// let logits = [1.0, 0.5, 1.5];
/// let first = sampler.sample(&logits, &[])?;
/// let state = sampler.state();
/// let second = sampler.sample(&logits, &[first])?;
/// assert!(first != 1 && second != 1, "one of the two likeliest");
///
/// // Another sampler of these options goes on from there.
/// let mut other = Sampler::new(options)?;
/// other.restore(&state)?;
/// assert_eq!(other.sample(&logits, &[first])?, second);
/// # Ok::<(), bise_model::sampler::SamplerError>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    bias: Vec<(u32, f32)>,
    mask: Option<Box<dyn Mask>>,
    observer: Option<Box<dyn Observer>>,
    chain: Chain,
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
        let mut sampler = Self::with_chain(options.chain()?, seed);
        sampler.bias = options.logit_bias;
        // The last bias of a token is the one that holds.
        sampler.bias.reverse();
        sampler.bias.sort_by_key(|&(id, _)| id);
        sampler.bias.dedup_by_key(|&mut (id, _)| id);
        Ok(sampler)
    }

    /// A sampler with filters of one's own.
    pub fn with_chain(chain: Chain, seed: u64) -> Self {
        Self {
            bias: Vec::new(),
            mask: None,
            observer: None,
            chain,
            candidates: Candidates::new(),
            seed,
            draws: 0,
        }
    }

    /// Lets only tokens through that `mask` allows; `None` lets all through again.
    pub fn set_mask(&mut self, mask: Option<Box<dyn Mask>>) {
        self.mask = mask;
    }

    /// Shows `observer` each token that is drawn.
    pub fn set_observer(&mut self, observer: Option<Box<dyn Observer>>) {
        self.observer = observer;
    }

    /// The seed, which gives the same text again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The next token after `history`, the prompt and all tokens so far, given the `logits` of all
    /// tokens.
    ///
    /// # Errors
    /// When a logit is NaN or positive infinity, or no token is allowed. The next call then takes
    /// the same random numbers.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, SamplerError> {
        self.sample_at(self.draws, logits, history)
    }

    /// As [`sample`](Self::sample), with the random numbers of token `index` of the text, counted
    /// from 0; the next call of `sample` takes those of the token after it.
    ///
    /// The token depends on the seed and the arguments alone, and with mirostat on its
    /// [`state`](Self::state).
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_at(
        &mut self,
        index: u64,
        logits: &[f32],
        history: &[u32],
    ) -> Result<u32, SamplerError> {
        let drawn = self.draw(index, logits, history)?;
        self.chain.accept(drawn);
        self.draws = index + 1;
        if let Some(observer) = &mut self.observer {
            observer.drawn(logits, drawn.id);
        }
        Ok(drawn.id)
    }

    /// What [`sample`](Self::sample) would give `ahead` tokens from now, as far as filters know
    /// what they will have learnt by then. Nothing is learnt, counted or shown to the observer.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn peek(
        &mut self,
        ahead: u64,
        logits: &[f32],
        history: &[u32],
    ) -> Result<u32, SamplerError> {
        Ok(self.draw(self.draws + ahead, logits, history)?.id)
    }

    /// Draws with the random numbers of token `index`.
    fn draw(
        &mut self,
        index: u64,
        logits: &[f32],
        history: &[u32],
    ) -> Result<Candidate, SamplerError> {
        self.fill(logits, history)?;
        let random = Random {
            seed: self.seed,
            draw: index,
        };
        self.chain.apply(&mut self.candidates, &Step { history, random });
        Ok(draw(&mut self.candidates, random.uniform(Stream::Draw)))
    }

    /// The candidates before the chain.
    fn fill(&mut self, logits: &[f32], history: &[u32]) -> Result<(), SamplerError> {
        let forbidden = |id: u32| {
            let at = self.bias.binary_search_by_key(&id, |b| b.0);
            at.is_ok_and(|at| self.bias[at].1 == f32::NEG_INFINITY)
        };
        match &mut self.mask {
            Some(mask) => {
                mask.look(history)?;
                let allowed = |id| mask.allows(id) && !forbidden(id);
                self.candidates.fill(logits, allowed)?;
            }
            None => self.candidates.fill(logits, |id| !forbidden(id))?,
        }
        if !self.bias.is_empty() {
            self.candidates.change(&self.bias, |logit, bias| logit + bias);
        }
        Ok(())
    }

    /// The candidates that the last token was drawn from.
    pub fn candidates(&self) -> &[Candidate] {
        self.candidates.as_slice()
    }

    /// What the sampler knows, to [`restore`](Self::restore) later, in this sampler or in one of
    /// the same options.
    pub fn state(&self) -> SamplerState {
        SamplerState {
            seed: self.seed,
            draws: self.draws,
            memories: self.chain.state(),
        }
    }

    /// Goes on where a sampler was when it gave `state`.
    ///
    /// # Errors
    /// When the state is of a sampler whose filters learn other things; nothing changes then.
    pub fn restore(&mut self, state: &SamplerState) -> Result<(), SamplerError> {
        if !self.chain.restore(&state.memories) {
            let problem = "the sampler's state is of another chain of samplers".to_owned();
            return Err(SamplerError::State { problem });
        }
        (self.seed, self.draws) = (state.seed, state.draws);
        Ok(())
    }
}

/// A seed that the standard library takes from the operating system.
fn random_seed() -> u64 {
    RandomState::new().hash_one(std::time::SystemTime::now())
}
