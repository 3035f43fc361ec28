//! From text to tokens as byte-level BPE does it, for tekken vocabularies and a `tokenizer.json` of
//! that kind.
//!
//! 1. Bytes that are not UTF-8 become U+FFFD, one each. User-defined pieces are cut out, longest first.
//! 2. What lies between them is cut into words by tekken's pattern ([`words`]).
//! 3. A word that is a token is that token.
//! 4. Otherwise it starts as a list of bytes. As long as two neighbours have a merge, the pair whose merge makes
//!    the token of lowest rank is replaced by it; of equal ranks, the leftmost pair.
//!
//! Vocabularies list merges in the order of the tokens that they make, all merges of a token
//! together: the rank of a token is the place of its first merge. Under rules of a
//! `tokenizer.json`, which do steps 1 and 2, each merge has its own rank, and step 3 is one of
//! them. Pieces are written in GPT-2's alphabet of one character for each byte.

use std::collections::HashMap;

use super::literals::Literals;
use super::pairs::{Merger, Merges};
use super::words::words;
use super::{Algorithm, TokenKind, TokenizerError, Vocabulary};

/// The pieces and merges of a vocabulary, ready for encoding and decoding.
#[derive(Debug)]
pub(super) struct ByteLevel {
    whole: HashMap<Box<[u8]>, u32>,
    /// The token of each byte.
    bytes: Box<[u32; 256]>,
    merges: Merges,
    user_defined: Literals,
    /// The bytes of all tokens, end to end; those of token `id` are `ends[id]..ends[id + 1]`.
    text: Vec<u8>,
    ends: Vec<usize>,
    ignore_merges: bool,
}

impl ByteLevel {
    pub fn new(vocabulary: &Vocabulary, merges: &[(u32, u32)]) -> Result<Self, TokenizerError> {
        let (mut text, mut ends) = (Vec::new(), vec![0]);
        let mut whole = HashMap::with_capacity(vocabulary.len());
        let mut user_defined = Literals::default();
        let is_piece = vocabulary.pieces_of_model();
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
                    let mut spelled = Vec::new();
                    if is_piece[id] && decode_piece(piece, &mut spelled).is_some() {
                        whole.entry(spelled.into()).or_insert(id as u32);
                    }
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
            merges: Merges::with_capacity(merges.len()),
            user_defined,
            text,
            ends,
            ignore_merges: vocabulary.rules.as_ref().is_none_or(|rules| rules.ignore_merges),
        };
        model.add_merges(vocabulary, merges)?;
        Ok(model)
    }

    fn add_merges(
        &mut self,
        vocabulary: &Vocabulary,
        merges: &[(u32, u32)],
    ) -> Result<(), TokenizerError> {
        let mut ranks: HashMap<u32, u32> = HashMap::new();
        let by_pair = vocabulary.rules.is_some();
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
            let rank = rank as u32;
            match self.whole.get(joined.as_slice()) {
                Some(&id) if by_pair => self.merges.insert((left, right), rank, id),
                Some(&id) => {
                    self.merges
                        .insert((left, right), *ranks.entry(id).or_insert(rank), id)
                }
                // What makes a control token is never made.
                None if by_pair => {}
                None => return Err(fault()),
            }
        }
        Ok(())
    }

    /// What a token stands for in text; nothing for control tokens.
    pub fn bytes_of(&self, id: u32) -> &[u8] {
        &self.text[self.ends[id as usize]..self.ends[id as usize + 1]]
    }

    /// Appends the tokens of `text` to `out`.
    pub fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let mut merger = Merger::default();
        self.user_defined.split(text, |part| match part {
            Ok(id) => out.push(id),
            Err(text) => words(text).for_each(|word| self.word(word, &mut merger, out)),
        });
    }

    /// Appends the tokens of one word to `out`.
    pub fn word(&self, word: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        match self.whole.get(word.as_bytes()).filter(|_| self.ignore_merges) {
            Some(&id) => out.push(id),
            None => merger.merge(
                &self.merges,
                word.bytes().map(|byte| self.bytes[usize::from(byte)]),
                out,
            ),
        }
    }
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

/// Appends the bytes of a piece in GPT-2's alphabet; `None` for a character outside it.
fn decode_piece(piece: &str, out: &mut Vec<u8>) -> Option<()> {
    for c in piece.chars() {
        out.push(byte_of(c)?);
    }
    Some(())
}

/// The byte that a character of GPT-2's alphabet stands for.
///
/// Printable characters of Latin-1 stand for themselves; the other bytes, in order, are U+0100 and
/// on.
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
        let is_piece = self.pieces_of_model();
        for (id, piece) in self.pieces.iter().enumerate() {
            if is_piece[id] && self.kinds[id] != TokenKind::Byte {
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
        let merges = merges.iter().enumerate().map(pair);
        let merges = match self.rules {
            // Merges of control tokens, which are never made from text.
            Some(_) => merges.flatten().collect(),
            None => merges.collect::<Result<_, _>>()?,
        };
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
