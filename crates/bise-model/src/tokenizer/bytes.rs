//! The bytes of one token.

use super::{Surface, Tokenizer};
use std::borrow::Cow;

impl Tokenizer {
    /// What the token `id` adds in the middle of a text; nothing for control tokens and the unknown
    /// token, which stand for no certain text, and for ids outside the vocabulary.
    pub fn bytes(&self, id: u32) -> Cow<'_, [u8]> {
        match self.surface(id) {
            Surface::Text(piece) if piece.contains(super::sentencepiece::SPACE) => {
                Cow::Owned(piece.replace(super::sentencepiece::SPACE, " ").into_bytes())
            }
            Surface::Text(piece) => Cow::Borrowed(piece.as_bytes()),
            Surface::Bytes(bytes) => Cow::Borrowed(bytes),
            Surface::Byte(byte) => Cow::Owned(vec![byte]),
            Surface::Hidden | Surface::Unknown => Cow::Borrowed(&[]),
        }
    }
}
