//! Where a repetition ends by itself.

use std::sync::Arc;

/// Texts across which [`Dry`](super::Dry) sees no repetition, such as the end of a line or the
/// colon after a name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Breakers(Option<Arc<Table>>);

#[derive(Debug, PartialEq)]
struct Table {
    texts: Vec<Box<[u8]>>,
    /// The text of each token, one after the other.
    bytes: Vec<u8>,
    /// Where each token's text ends.
    ends: Vec<usize>,
    /// Whether a breaker lies in each token's text.
    breaks: Vec<bool>,
}

impl Breakers {
    /// The breakers `texts`, for a vocabulary of which `tokens` gives each token's text.
    pub fn new<T: AsRef<[u8]>>(
        texts: &[impl AsRef<[u8]>],
        tokens: impl Iterator<Item = T>,
    ) -> Self {
        let texts: Vec<Box<[u8]>> = texts.iter().map(|t| t.as_ref().into()).collect();
        let texts: Vec<_> = texts.into_iter().filter(|t| !t.is_empty()).collect();
        if texts.is_empty() {
            return Self(None);
        }
        let (mut bytes, mut ends, mut breaks) = (Vec::new(), Vec::new(), Vec::new());
        for token in tokens {
            let token = token.as_ref();
            bytes.extend_from_slice(token);
            ends.push(bytes.len());
            breaks.push(texts.iter().any(|text| find_last(token, text).is_some()));
        }
        Self(Some(Arc::new(Table {
            texts,
            bytes,
            ends,
            breaks,
        })))
    }

    /// Whether a breaker lies in the text of token `id`.
    pub fn breaks(&self, id: u32) -> bool {
        let table = self.0.as_ref();
        table.is_some_and(|t| t.breaks.get(id as usize).copied().unwrap_or(false))
    }

    /// How many of the last tokens of `history` lie after the last breaker. A breaker may lie
    /// across tokens. `window` is room to work in.
    pub(super) fn tokens_since(&self, history: &[u32], window: &mut Vec<u8>) -> usize {
        let Some(table) = &self.0 else {
            return history.len();
        };
        let longest = table.texts.iter().map(|t| t.len()).max().unwrap_or(0);
        // The window holds the text of a token and what follows it, as far as a breaker that begins
        // in the token can reach.
        window.clear();
        let mut after = 0;
        for (n, &id) in history.iter().rev().enumerate() {
            let token = table.text(id);
            window.truncate(longest - 1);
            window.splice(..0, token.iter().copied());
            let ends = table.texts.iter().filter_map(|text| find_last(window, text));
            if let Some(end) = ends.max() {
                // Counted from the end of the history, which the window need not reach.
                let left = (token.len() + after).saturating_sub(end);
                return table.tokens_within(&history[history.len() - n..], left);
            }
            after += token.len();
        }
        history.len()
    }
}

impl Table {
    fn text(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..end]
    }

    /// How many of the last tokens lie wholly in the last `left` bytes.
    fn tokens_within(&self, tokens: &[u32], left: usize) -> usize {
        let mut bytes = 0;
        let within = tokens.iter().rev().take_while(|&&id| {
            bytes += self.text(id).len();
            bytes <= left
        });
        within.count()
    }
}

/// Where the last `text` in `bytes` ends.
fn find_last(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let start = bytes.windows(text.len()).rposition(|window| window == text)?;
    Some(start + text.len())
}
