//! Added tokens: which they are, and where a text has them.
//!
//! From left to right, of those that begin at one place the longest. A token that is a control
//! token counts only where the program has placed it; elsewhere its text is text, and no other
//! token is found inside.

use std::sync::LazyLock;

use regex::Regex;

use super::super::literals::Literals;
use super::place::Controls;

/// An added token, with the flags of `tokenizer.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Added {
    /// The token.
    pub id: u32,
    /// Whether it is searched in normalized text.
    pub normalized: bool,
    /// Whether it takes the white space before it.
    pub lstrip: bool,
    /// Whether it takes the white space behind it.
    pub rstrip: bool,
    /// Whether it is found as a whole word only.
    pub single_word: bool,
    /// Whether it is also a piece that merging can make.
    pub piece: bool,
}

impl Added {
    /// The flags as bits, for metadata.
    pub fn bits(self) -> u32 {
        let flags = [
            self.normalized,
            self.lstrip,
            self.rstrip,
            self.single_word,
            self.piece,
        ];
        flags
            .iter()
            .rev()
            .fold(0, |bits, &flag| bits << 1 | u32::from(flag))
    }

    /// From [`bits`](Self::bits); `None` for bits that have no meaning.
    pub fn from_bits(id: u32, bits: u32) -> Option<Self> {
        let flag = |n: u32| bits >> n & 1 == 1;
        (bits < 32).then(|| Self {
            id,
            normalized: flag(0),
            lstrip: flag(1),
            rstrip: flag(2),
            single_word: flag(3),
            piece: flag(4),
        })
    }
}

/// Tokens by their text.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Their places in `entries`.
    literals: Literals,
    entries: Vec<(Added, bool)>,
}

/// A part of a text.
pub(super) enum Found<'t> {
    Token(u32),
    /// Never empty.
    Text(&'t str),
}

static WORD_FIRST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\w").expect("the pattern is valid"));
static WORD_LAST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\w$").expect("the pattern is valid"));

impl Table {
    pub fn insert(&mut self, text: &str, added: &Added, control: bool) {
        self.literals.insert(text, self.entries.len() as u32);
        self.entries.push((*added, control));
    }

    /// Calls `emit` with the tokens in `text` and what lies between them, and where in `text` each
    /// begins. Control tokens are found where they are placed, and those that are `allowed`
    /// wherever they are written.
    pub fn split<'t>(
        &self,
        text: &'t str,
        controls: Controls,
        allowed: &[u32],
        mut emit: impl FnMut(usize, Found<'t>),
    ) {
        let (mut done, mut at, mut controls) = (0, 0, controls);
        while let Some(c) = text[at..].chars().next() {
            while controls.first().is_some_and(|(range, _)| range.start < at) {
                controls = &controls[1..];
            }
            let placed = controls.first().filter(|(range, _)| range.start == at);
            let literal = self.literals.at_start_of(&text[at..], c);
            let literal = literal.map(|(len, entry)| (at + len, self.entries[entry as usize]));
            // What the program has placed yields to a longer token that is none of its kind.
            let found = match (placed, literal) {
                (Some((range, id)), Some((end, (_, control)))) if control || end <= range.end => {
                    Some((range.end, self.flags(*id, &text[range.clone()]), false))
                }
                (Some((range, id)), None) => {
                    Some((range.end, self.flags(*id, &text[range.clone()]), false))
                }
                (_, Some((end, (added, control)))) => Some((end, added, control)),
                (None, None) => None,
            };
            let Some((end, added, is_text)) = found else {
                at += c.len_utf8();
                continue;
            };
            if is_text && !allowed.contains(&added.id) {
                // Another that was placed may begin inside.
                let next = controls
                    .first()
                    .map_or(end, |(range, _)| range.start.clamp(at, end));
                at = if next > at { next } else { end };
                continue;
            }
            if added.single_word
                && (WORD_LAST.is_match(&text[..at]) || WORD_FIRST.is_match(&text[end..]))
            {
                at = end;
                continue;
            }
            let start = if added.lstrip {
                text[..at].trim_end().len().max(done)
            } else {
                at
            };
            if start > done {
                emit(done, Found::Text(&text[done..start]));
            }
            emit(start, Found::Token(added.id));
            at = end;
            done = if added.rstrip {
                text.len() - text[end..].trim_start().len()
            } else {
                end
            };
            at = at.max(done);
        }
        if done < text.len() {
            emit(done, Found::Text(&text[done..]));
        }
    }

    /// The flags of a control token, which may be written here as another is.
    fn flags(&self, id: u32, text: &str) -> Added {
        let literal = text
            .chars()
            .next()
            .and_then(|c| self.literals.at_start_of(text, c));
        let entry = literal.map(|(_, entry)| self.entries[entry as usize].0);
        entry.filter(|added| added.id == id).unwrap_or(Added {
            id,
            ..Added::default()
        })
    }
}
