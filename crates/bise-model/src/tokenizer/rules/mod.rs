//! What a `tokenizer.json` says beyond pieces, as the `tokenizers` library applies it.
//!
//! ```text
//! text --added tokens--> sections --normalizer--> --added tokens--> parts --pre-tokenizer--> words --model--> tokens
//!        (not normalized)                           (normalized)
//! ```
//!
//! Each section is normalized by itself: `Prepend` puts a space before the text behind every added
//! token, where `Metaspace` with `first` puts one before the first text only. Added tokens that are
//! normalized are searched in normalized text, and as they are after normalization themselves.

mod added;
mod normalizer;
mod pattern;
mod pipeline;
mod place;
mod pre_tokenizer;

pub use added::Added;
pub(super) use pipeline::Pipeline;
pub use place::Controls;
pub(super) use place::Place;

/// The rules as data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// `normalizer` of tokenizer.json; `null` for none.
    pub normalizer: String,
    /// `pre_tokenizer` of tokenizer.json; `null` for none.
    pub pre_tokenizer: String,
    /// Tokens that are found in text before it is cut and merged, and how.
    pub added: Vec<Added>,
    /// Pairs of tokens that merge, best first, in vocabularies of characters; without them the
    /// scores decide.
    pub merges: Option<Vec<(u32, u32)>>,
    /// Whether a run of characters without a piece is one unknown token.
    pub fuse_unk: bool,
    /// Whether a word that is a token is that token, whatever the merges would make.
    pub ignore_merges: bool,
}
