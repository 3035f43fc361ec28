//! Where texts stand, and what stands between them.

use std::ops::Range;

/// Where a text stands, which decides about the space in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tokenizer) enum Place {
    /// At the beginning.
    Beginning,
    /// Behind a control token.
    Behind,
    /// It goes on with another text: there is no space in front.
    Continuing,
    /// A text of its own, as SentencePiece and mistral-common take it: a space goes in front
    /// whatever it begins with.
    Alone,
}

/// Control tokens that the program has placed: which bytes of the text stand for which.
pub type Controls<'a> = &'a [(Range<usize>, u32)];
