//! What is processed in one pass.

use crate::error::ForwardError;
use crate::sequence::Sequence;

/// Which tokens of a part logits are wanted of: what the model says that follows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogitRows {
    /// None: more of the prompt comes.
    None,
    /// The last token.
    #[default]
    Last,
    /// Every token.
    All,
}

impl LogitRows {
    /// Of `n` tokens.
    pub(crate) fn of(self, n: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Last => n.min(1),
            Self::All => n,
        }
    }
}

/// The next tokens of a sequence: a piece of its prompt, or one token that was chosen.
///
/// A batch is a slice of parts of different sequences.
pub struct Part<'a> {
    /// The sequence, which has the tokens afterwards.
    pub sequence: &'a mut Sequence,
    /// What comes next in it.
    pub tokens: &'a [u32],
    /// What is wanted of it.
    pub logits: LogitRows,
}

impl<'a> Part<'a> {
    /// The next `tokens` of `sequence`.
    pub fn new(sequence: &'a mut Sequence, tokens: &'a [u32], logits: LogitRows) -> Self {
        Self {
            sequence,
            tokens,
            logits,
        }
    }

    /// The tokens are of a vocabulary of so many, and fit.
    pub(crate) fn check(&self, vocabulary: usize) -> Result<(), ForwardError> {
        let unknown = |token: &&u32| **token as usize >= vocabulary;
        if let Some(&token) = self.tokens.iter().find(unknown) {
            return Err(ForwardError::Token { token, vocabulary });
        }
        let used = self.sequence.len();
        match self.sequence.capacity() {
            Some(capacity) if self.tokens.len() > capacity - used => {
                Err(ForwardError::ContextFull {
                    capacity,
                    used,
                    more: self.tokens.len(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// What a model says that follows the tokens of a batch.
pub struct Logits<'a> {
    /// `[rows, vocabulary]`
    pub(crate) values: &'a [f32],
    /// Where the values of each part begin, and the last end.
    pub(crate) starts: &'a [usize],
}

impl<'a> Logits<'a> {
    /// The logits of a part, `[rows, vocabulary]`: as many rows as were asked for.
    ///
    /// # Panics
    /// When the batch had no such part.
    pub fn of(&self, part: usize) -> &'a [f32] {
        &self.values[self.starts[part]..self.starts[part + 1]]
    }
}
