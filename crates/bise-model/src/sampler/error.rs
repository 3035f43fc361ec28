//! What can go wrong in sampling.

use super::SamplerKind;

/// Why there is no sampler, or no next token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// An option has no meaning outside its range.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// The field of [`SamplerOptions`](super::SamplerOptions).
        option: &'static str,
        /// Its value.
        found: String,
        /// Its range.
        expected: &'static str,
    },
    /// A name that no sampler has.
    #[error("there is no sampler '{found}'; there are {}", SamplerKind::names())]
    Kind {
        /// The name.
        found: String,
    },
    /// Samplers that make no chain.
    #[error("the sampler {sampler} {problem}")]
    Order {
        /// The sampler.
        sampler: &'static str,
        /// What is wrong with its place.
        problem: &'static str,
    },
    /// A state that is damaged, or of a sampler with other filters.
    #[error("{problem}")]
    State {
        /// What is wrong with it.
        problem: String,
    },
    /// A logit is NaN or positive infinity: the model or its file is broken.
    #[error("the logit of token {token} is {found}")]
    Logit {
        /// The token.
        token: usize,
        /// Its logit.
        found: String,
    },
    /// Every token is excluded by a logit of negative infinity or by a mask, or there are no
    /// logits.
    #[error("none of {tokens} tokens is allowed")]
    NoCandidate {
        /// The number of logits.
        tokens: usize,
    },
    /// A [`Mask`](super::Mask) has no answer.
    #[error(transparent)]
    Mask(#[from] MaskError),
}

/// Why a [`Mask`](super::Mask) cannot tell which tokens may come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MaskError(String);

impl MaskError {
    /// With words for whoever asked for the mask.
    pub fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}
