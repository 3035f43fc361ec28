//! Pieces that are found in text as they are: the longest first, from left to right.

use std::collections::HashMap;

/// Pieces by their text.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    ids: HashMap<String, u32>,
    /// First character to the lengths in bytes, longest first.
    lengths: HashMap<char, Vec<usize>>,
}

impl Literals {
    /// Adds a piece; of two with the same text the first counts.
    pub fn insert(&mut self, text: &str, id: u32) {
        let Some(first) = text.chars().next() else { return };
        let lengths = self.lengths.entry(first).or_default();
        if let Err(at) = lengths.binary_search_by(|len| text.len().cmp(len)) {
            lengths.insert(at, text.len());
        }
        self.ids.entry(text.to_owned()).or_insert(id);
    }

    /// The length and id of the longest piece that `text`, whose first character is `c`, begins
    /// with.
    pub fn at_start_of(&self, text: &str, c: char) -> Option<(usize, u32)> {
        if self.ids.is_empty() {
            return None;
        }
        let candidates = self.lengths.get(&c)?.iter();
        candidates
            .filter_map(|&len| Some((len, *self.ids.get(text.get(..len)?)?)))
            .next()
    }

    /// Calls `emit` with the pieces in `text` and with what lies between them, which is never
    /// empty.
    pub fn split<'t>(&self, text: &'t str, mut emit: impl FnMut(Result<u32, &'t str>)) {
        let (mut start, mut at) = (0, 0);
        while let Some(c) = text[at..].chars().next() {
            match self.at_start_of(&text[at..], c) {
                Some((len, id)) => {
                    if start < at {
                        emit(Err(&text[start..at]));
                    }
                    emit(Ok(id));
                    at += len;
                    start = at;
                }
                None => at += c.len_utf8(),
            }
        }
        if start < text.len() {
            emit(Err(&text[start..]));
        }
    }
}
