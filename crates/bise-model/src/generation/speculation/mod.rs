//! Speculative decoding: tokens are guessed, and the model reads several of them at once.
//!
//! Reading a few tokens takes hardly longer than reading one, because both read all weights. So
//! what the text may say next is drafted, by the text itself ([`Lookup`](ngram::Lookup)) or by a
//! smaller model ([`DraftModel`](draft::DraftModel)), and read along with the last token. The next
//! tokens are chosen from the logits as ever, one after the other; while each is the one that was
//! drafted, the logits of what follows are there already. The first that differs makes the rest
//! void.
//!
//! The text is the same with and without drafts, bit for bit, at any temperature: logits do not
//! depend on how many tokens are read at a time, and the sampler sees the same logits in the same
//! order. (The method of Leviathan et al., arXiv 2211.17192, keeps the distribution; here the very
//! tokens are kept, since the sampler's random numbers belong to positions.)
//!
//! How many tokens to draft follows from how likely they are right, and from what batches cost on
//! this machine, which is measured on the way: `k` drafts, right with likelihoods `p1, p2, ...` if
//! those before are, make
//!
//! ```text
//! (1 + p1 + p1 p2 + ... + p1 .. pk) / t(1 + k)       tokens in the time of one
//! ```
//!
//! and the best `k` is taken: 0 where nothing pays. Time decides only how fast the text comes,
//! never what it says.

mod costs;
mod draft;
mod drafting;
mod ngram;
mod plan;
mod rate;
mod text;

pub use draft::DraftError;
pub use drafting::{Counts, Speculation, SpeculationOptions};
pub use ngram::Lookup;
pub(crate) use text::Text;
