//! What can go wrong in sampling.

/// Why there is no sampler, or no next token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// Every token is excluded by a logit of negative infinity, or there are no logits.
    #[error("none of {tokens} tokens is allowed")]
    NoCandidate {
        /// The number of logits.
        tokens: usize,
    },
}
