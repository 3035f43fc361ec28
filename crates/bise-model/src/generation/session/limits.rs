//! Where a text ends.

/// When generation ends by itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// Tokens that end the text; they are not handed out.
    pub end: &'a [u32],
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model ended the text.
    EndOfText,
    /// [`Limits::max_tokens`] were generated.
    Length,
    /// The receiver asked to stop.
    Asked,
}
