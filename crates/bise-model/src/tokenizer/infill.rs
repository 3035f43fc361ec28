//! Texts with a gap, as Mistral's models for code read them:
//!
//! ```text
//! <s>[SUFFIX]after the gap[PREFIX]before the gap
//! ```

use super::{TokenKind, Tokenizer, TokenizerError};

impl Tokenizer {
    /// The tokens of a text with a gap between `prefix` and `suffix`, which the model fills by
    /// going on.
    ///
    /// # Errors
    /// When the vocabulary lacks one of the three control tokens.
    pub fn encode_infill(&self, prefix: &[u8], suffix: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        let control = |piece: &'static str| {
            let id = self.token(piece);
            let id = id.filter(|&id| self.kind(id) == Some(TokenKind::Control));
            id.ok_or(TokenizerError::Infill { piece })
        };
        let bos = self
            .vocabulary()
            .bos
            .ok_or(TokenizerError::Infill { piece: "<s>" })?;
        let mut ids = vec![bos, control("[SUFFIX]")?];
        if !suffix.is_empty() {
            // As mistral-common does it: the two tokens of a character in front keep
            // SentencePiece's space away.
            let marked = self.encode_alone(&["\u{263a}".as_bytes(), suffix].concat());
            ids.extend_from_slice(&marked[marked.len().min(2)..]);
        }
        ids.push(control("[PREFIX]")?);
        ids.extend(self.encode_alone(prefix));
        Ok(ids)
    }
}
