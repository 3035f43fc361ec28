//! From text to tokens as byte-level BPE does it, for tekken vocabularies.
//!
//! 1. Bytes that are not UTF-8 become U+FFFD, one each. User-defined pieces are cut out, longest first.
//! 2. What lies between them is cut into words by tekken's pattern ([`words`]).
//! 3. A word that is a token is that token.
//! 4. Otherwise it starts as a list of bytes. As long as two neighbours have a merge, the pair whose merge makes
//!    the token of lowest rank is replaced by it; of equal ranks, the leftmost pair.
//!
//! Vocabularies list merges in the order of the tokens that they make, all merges of a token together: the rank
//! of a token is the place of its first merge. Pieces are written in GPT-2's alphabet of one character for each
//! byte.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::literals::Literals;
use super::words::words;
use super::{Algorithm, TokenKind, TokenizerError, Vocabulary};

/// The pieces and merges of a vocabulary, ready for encoding and decoding.
#[derive(Debug)]
pub(super) struct ByteLevel {
    whole: HashMap<Box<[u8]>, u32>,
    /// The token of each byte.
    bytes: Box<[u32; 256]>,
    merges: HashMap<(u32, u32), Merge>,
    user_defined: Literals,
    /// The bytes of all tokens, end to end; those of token `id` are `ends[id]..ends[id + 1]`.
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// What two neighbours become.
#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    id: u32,
}

impl ByteLevel {
    pub fn new(vocabulary: &Vocabulary, merges: &[(u32, u32)]) -> Result<Self, TokenizerError> {
        let (mut text, mut ends) = (Vec::new(), vec![0]);
        let mut whole = HashMap::with_capacity(vocabulary.len());
        let mut user_defined = Literals::default();
        for (id, piece) in vocabulary.pieces.iter().enumerate() {
            let start = text.len();
            match vocabulary.kinds[id] {
                TokenKind::Normal | TokenKind::Byte => {
                    decode_piece(piece, &mut text).ok_or_else(|| TokenizerError::Alphabet {
                        id,
                        piece: piece.clone(),
                    })?;
                    whole.entry(text[start..].into()).or_insert(id as u32);
                }
                TokenKind::UserDefined => {
                    text.extend(piece.bytes());
                    user_defined.insert(piece, id as u32);
                }
                TokenKind::Unused => text.extend(piece.bytes()),
                TokenKind::Unknown | TokenKind::Control => {}
            }
            ends.push(text.len());
        }
        let bytes = byte_tokens(&whole)?;
        let mut model = Self {
            whole,
            bytes,
            merges: HashMap::with_capacity(merges.len()),
            user_defined,
            text,
            ends,
        };
        model.add_merges(vocabulary, merges)?;
        Ok(model)
    }

    fn add_merges(&mut self, vocabulary: &Vocabulary, merges: &[(u32, u32)]) -> Result<(), TokenizerError> {
        let mut ranks: HashMap<u32, u32> = HashMap::new();
        for (rank, &(left, right)) in merges.iter().enumerate() {
            let fault = || TokenizerError::Merge {
                index: rank,
                merge: format!("tokens {left} and {right}"),
            };
            let in_vocabulary = |id: u32| (id as usize) < vocabulary.len();
            if !in_vocabulary(left) || !in_vocabulary(right) {
                return Err(fault());
            }
            let joined = [self.bytes_of(left), self.bytes_of(right)].concat();
            let &id = self.whole.get(joined.as_slice()).ok_or_else(fault)?;
            let rank = *ranks.entry(id).or_insert(rank as u32);
            self.merges.entry((left, right)).or_insert(Merge { rank, id });
        }
        Ok(())
    }

    /// What a token stands for in text; nothing for control tokens.
    pub fn bytes_of(&self, id: u32) -> &[u8] {
        &self.text[self.ends[id as usize]..self.ends[id as usize + 1]]
    }

    /// Appends the tokens of `text` to `out`.
    pub fn encode(&self, text: &[u8], out: &mut Vec<u32>) {
        let text = valid(text);
        let mut merger = Merger::default();
        self.user_defined.split(&text, |part| match part {
            Ok(id) => out.push(id),
            Err(text) => words(text).for_each(|word| match self.whole.get(word.as_bytes()) {
                Some(&id) => out.push(id),
                None => merger.merge(self, word.as_bytes(), out),
            }),
        });
    }
}

/// `text` with U+FFFD for each byte that is not UTF-8.
fn valid(text: &[u8]) -> String {
    let mut valid = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        valid.push_str(chunk.valid());
        valid.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    valid
}

fn byte_tokens(whole: &HashMap<Box<[u8]>, u32>) -> Result<Box<[u32; 256]>, TokenizerError> {
    let mut bytes = Box::new([0; 256]);
    let mut found = 0;
    for byte in 0..=255u8 {
        if let Some(&id) = whole.get([byte].as_slice()) {
            bytes[byte as usize] = id;
            found += 1;
        }
    }
    match found {
        256 => Ok(bytes),
        _ => Err(TokenizerError::Bytes { found }),
    }
}

/// Merges one word after another, keeping its buffers.
#[derive(Debug, Default)]
struct Merger {
    symbols: Vec<Symbol>,
    /// Best first: rank, place of the left one, and the two tokens as they were.
    pairs: BinaryHeap<Reverse<(u32, u32, u32, u32, u32)>>,
}

/// A token in a doubly linked list; `id` is `NONE` once merged into its left neighbour.
#[derive(Debug)]
struct Symbol {
    id: u32,
    previous: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

impl Merger {
    fn merge(&mut self, model: &ByteLevel, word: &[u8], out: &mut Vec<u32>) {
        self.symbols.clear();
        self.symbols
            .extend(word.iter().enumerate().map(|(i, &byte)| Symbol {
                id: model.bytes[byte as usize],
                previous: (i as u32).wrapping_sub(1),
                next: i as u32 + 1,
            }));
        for right in 1..self.symbols.len() as u32 {
            self.consider(model, right - 1, right);
        }
        while let Some(Reverse((_, left, id, right, right_id))) = self.pairs.pop() {
            // A token that has grown since has another id.
            let (l, r) = (&self.symbols[left as usize], &self.symbols[right as usize]);
            if l.id == id && r.id == right_id && l.next == right {
                self.join(model, left, right);
            }
        }
        let mut at = 0;
        while let Some(symbol) = self.symbols.get(at as usize) {
            out.push(symbol.id);
            at = symbol.next;
        }
    }

    /// Makes the neighbours `left` and `right` a candidate if they have a merge.
    fn consider(&mut self, model: &ByteLevel, left: u32, right: u32) {
        let (Some(l), Some(r)) = (self.symbols.get(left as usize), self.symbols.get(right as usize)) else {
            return;
        };
        if let Some(merge) = model.merges.get(&(l.id, r.id)) {
            self.pairs.push(Reverse((merge.rank, left, l.id, right, r.id)));
        }
    }

    fn join(&mut self, model: &ByteLevel, left: u32, right: u32) {
        let (l, r) = (&self.symbols[left as usize], &self.symbols[right as usize]);
        let (id, next, previous) = (model.merges[&(l.id, r.id)].id, r.next, l.previous);
        self.symbols[right as usize].id = NONE;
        let l = &mut self.symbols[left as usize];
        (l.id, l.next) = (id, next);
        if let Some(following) = self.symbols.get_mut(next as usize) {
            following.previous = left;
        }
        self.consider(model, previous, left);
        self.consider(model, left, next);
    }
}

/// Appends the bytes of a piece in GPT-2's alphabet; `None` for a character outside it.
fn decode_piece(piece: &str, out: &mut Vec<u8>) -> Option<()> {
    for c in piece.chars() {
        out.push(byte_of(c)?);
    }
    Some(())
}

/// The byte that a character of GPT-2's alphabet stands for.
///
/// Printable characters of Latin-1 stand for themselves; the other bytes, in order, are U+0100 and on.
fn byte_of(c: char) -> Option<u8> {
    let code = c as u32;
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

impl Vocabulary {
    /// The merges of a byte-level vocabulary, each `"left right"` in the alphabet of the pieces.
    pub(super) fn parse_merges(&self, merges: &[String]) -> Result<Algorithm, TokenizerError> {
        let mut ids: HashMap<&str, u32> = HashMap::with_capacity(self.len());
        for (id, piece) in self.pieces.iter().enumerate() {
            if self.kinds[id] == TokenKind::Normal {
                ids.entry(piece).or_insert(id as u32);
            }
        }
        let pair = |(index, merge): (usize, &String)| {
            let parts = merge.split_once(' ');
            let ids = parts.and_then(|(left, right)| Some((*ids.get(left)?, *ids.get(right)?)));
            ids.ok_or_else(|| TokenizerError::Merge {
                index,
                merge: format!("{merge:?}"),
            })
        };
        let merges = merges.iter().enumerate().map(pair).collect::<Result<_, _>>()?;
        Ok(Algorithm::Tekken { merges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GPT-2's table: printable bytes as themselves, then the rest from U+0100.
    #[test]
    fn the_alphabet_is_a_bijection() {
        let printable = |b: u8| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let others = (0..=255u8).filter(|&b| !printable(b));
        let table = (0..=255u8).filter(|&b| printable(b)).map(|b| (char::from(b), b));
        let table: Vec<_> = table
            .chain((0x100u32..).map(|c| char::from_u32(c).unwrap()).zip(others))
            .collect();
        assert_eq!(table.len(), 256);
        for (c, byte) in table {
            assert_eq!(byte_of(c), Some(byte), "{c:?}");
        }
        for c in [' ', '\n', '\u{7f}', '\u{ad}', '\u{144}', '\u{2581}'] {
            assert_eq!(byte_of(c), None, "{c:?}");
        }
    }
}
