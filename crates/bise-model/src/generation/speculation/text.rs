//! What those who draft see.

/// The text so far, as those who draft see it.
pub(crate) struct Text<'a> {
    /// Tokens of the text before the first of `tokens`.
    pub dropped: usize,
    /// The rest of the text.
    pub tokens: &'a [u32],
    /// Where among `tokens` those begin that are looked back on.
    pub history: usize,
}
