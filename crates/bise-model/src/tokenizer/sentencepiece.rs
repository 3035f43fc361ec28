//! From text to tokens as SentencePiece's BPE does it.
//!
//! 1. Bytes that are not UTF-8 become U+FFFD, one each; spaces become U+2581; one is put in front of what begins a text.
//! 2. User-defined pieces are cut out, longest first, left to right.
//! 3. What lies between them is cut wherever two characters meet that no piece holds side by side: no
//!    merge can cross such a place, so the parts can be merged one by one. In vocabularies where the space
//!    only begins pieces, that is at least at every space, and long texts cost no more than their words.
//! 4. Each part is merged ([`merge`](super::merge)).
//! 5. Characters without a piece become their bytes, or else one unknown token for a run of them.

use std::collections::HashSet;

use super::literals::Literals;
use super::merge::{Merger, Piece, Pieces};
use super::vocabulary::parse_byte;
use super::{TokenKind, TokenizerError, Vocabulary};

/// What SentencePiece writes for a space.
pub(super) const SPACE: char = '\u{2581}';

/// The pieces of a vocabulary, ready for encoding.
#[derive(Debug)]
pub(super) struct SentencePiece {
    pieces: Pieces,
    /// With U+2581 for spaces.
    user_defined: Literals,
    /// Pairs of characters side by side in some piece.
    adjacent: HashSet<(char, char)>,
    fallback: Fallback,
    add_space_prefix: bool,
}

/// What becomes of a character without a piece.
#[derive(Debug)]
enum Fallback {
    Bytes(Box<[u32; 256]>),
    Unknown(u32),
}

impl SentencePiece {
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let mut pieces = Pieces::default();
        let mut user_defined = Literals::default();
        let mut adjacent = HashSet::new();
        let is_piece = vocabulary.pieces_of_model();
        for (id, text) in vocabulary.pieces.iter().enumerate() {
            let (kind, score) = (vocabulary.kinds[id], vocabulary.scores[id]);
            let id = id as u32;
            match kind {
                _ if is_piece[id as usize] && kind != TokenKind::Byte => {
                    pieces.insert(
                        text,
                        Piece {
                            id,
                            score,
                            unused: kind == TokenKind::Unused,
                        },
                    );
                    adjacent.extend(text.chars().zip(text.chars().skip(1)));
                }
                // Under rules added tokens have been found before.
                TokenKind::UserDefined if vocabulary.rules.is_none() => {
                    user_defined.insert(&text.chars().map(escape).collect::<String>(), id);
                }
                _ => {}
            }
        }
        let fallback = Fallback::new(vocabulary)?;
        let add_space_prefix = vocabulary.add_space_prefix;
        Ok(Self {
            pieces,
            user_defined,
            adjacent,
            fallback,
            add_space_prefix,
        })
    }

    /// Appends the tokens of `text` to `out`; with `prefix` a space may be put in front.
    pub fn encode(&self, text: &str, prefix: bool, out: &mut Vec<u32>) {
        if !text.is_empty() {
            let prefix = (prefix && self.add_space_prefix).then_some(SPACE);
            let text: String = prefix.into_iter().chain(text.chars().map(escape)).collect();
            self.merge(&text, out);
        }
    }

    /// Appends the tokens of `text`, whose spaces are U+2581 already, to `out`.
    pub fn merge(&self, text: &str, out: &mut Vec<u32>) {
        let first = out.len();
        let mut merger = Merger::new(&self.pieces);
        let mut flush = |part: &str, out: &mut Vec<u32>| {
            merger.merge(part, |symbol, piece| match piece {
                Some(piece) => out.push(piece.id),
                None => self.fallback.push(symbol, first, out),
            });
        };
        let (mut start, mut at, mut before) = (0, 0, SPACE);
        while let Some(c) = text[at..].chars().next() {
            if let Some((len, id)) = self.user_defined.at_start_of(&text[at..], c) {
                flush(&text[start..at], out);
                out.push(id);
                at += len;
                start = at;
                continue;
            }
            if at > start && !self.adjacent.contains(&(before, c)) {
                flush(&text[start..at], out);
                start = at;
            }
            before = c;
            at += c.len_utf8();
        }
        flush(&text[start..], out);
    }
}

fn escape(c: char) -> char {
    if c == ' ' { SPACE } else { c }
}

impl Fallback {
    fn new(vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let mut bytes = [None; 256];
        for (id, piece) in vocabulary.pieces.iter().enumerate() {
            if let (TokenKind::Byte, Some(byte)) = (vocabulary.kinds[id], parse_byte(piece)) {
                bytes[byte as usize].get_or_insert(id as u32);
            }
        }
        let found = bytes.iter().flatten().count();
        match vocabulary.unk {
            _ if found == 256 => Ok(Self::Bytes(Box::new(bytes.map(Option::unwrap_or_default)))),
            Some(unk) => Ok(Self::Unknown(unk)),
            None => Err(TokenizerError::Incomplete { found }),
        }
    }

    /// Appends `symbol` to `out`, whose tokens of this text begin at `first`.
    fn push(&self, symbol: &str, first: usize, out: &mut Vec<u32>) {
        match self {
            Self::Bytes(ids) => out.extend(symbol.bytes().map(|b| ids[b as usize])),
            Self::Unknown(unk) if out[first..].last() == Some(unk) => {}
            Self::Unknown(unk) => out.push(*unk),
        }
    }
}
