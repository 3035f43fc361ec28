//! From words to tokens as the BPE of a `tokenizer.json` with byte fallback does it.
//!
//! A word starts as a list of characters. One without a piece becomes its bytes, or else an unknown
//! token. Then pairs merge ([`pairs`](super::pairs)).

use std::collections::HashMap;

use super::pairs::{Merger, Merges};
use super::rules::Rules;
use super::vocabulary::parse_byte;
use super::{TokenKind, TokenizerError, Vocabulary};

/// The pieces and merges of a vocabulary, ready for encoding.
#[derive(Debug)]
pub(super) struct Characters {
    /// Pieces of one character, and all of them where a word may be one.
    pieces: HashMap<Box<str>, u32>,
    bytes: Vec<Option<u32>>,
    unk: Option<u32>,
    merges: Merges,
    fuse_unk: bool,
    ignore_merges: bool,
}

impl Characters {
    pub fn new(
        vocabulary: &Vocabulary,
        rules: &Rules,
        merges: &[(u32, u32)],
    ) -> Result<Self, TokenizerError> {
        let mut bytes = vec![None; 256];
        let mut all: HashMap<&str, u32> = HashMap::with_capacity(vocabulary.len());
        let is_piece = vocabulary.pieces_of_model();
        for (id, text) in vocabulary
            .pieces
            .iter()
            .enumerate()
            .filter(|(id, _)| is_piece[*id])
        {
            if let (TokenKind::Byte, Some(byte)) = (vocabulary.kinds[id], parse_byte(text)) {
                bytes[usize::from(byte)].get_or_insert(id as u32);
            }
            all.entry(text).or_insert(id as u32);
        }
        let found = bytes.iter().flatten().count();
        let unk = vocabulary.unk;
        if found < 256 && unk.is_none() {
            return Err(TokenizerError::Incomplete { found });
        }
        let mut made = Merges::with_capacity(merges.len());
        let mut joined = String::new();
        for (rank, &(left, right)) in merges.iter().enumerate() {
            let text = |id: u32| vocabulary.pieces.get(id as usize);
            let (Some(l), Some(r)) = (text(left), text(right)) else {
                let merge = format!("tokens {left} and {right}");
                return Err(TokenizerError::Merge { index: rank, merge });
            };
            joined.clear();
            joined.extend([l.as_str(), r]);
            // What makes a control token is never made.
            if let Some(&id) = all.get(joined.as_str()) {
                made.insert((left, right), rank as u32, id);
            }
        }
        let short = |text: &str| rules.ignore_merges || text.chars().nth(1).is_none();
        let pieces = all.into_iter().filter(|(text, _)| short(text));
        Ok(Self {
            pieces: pieces.map(|(text, id)| (text.into(), id)).collect(),
            bytes,
            unk,
            merges: made,
            fuse_unk: rules.fuse_unk,
            ignore_merges: rules.ignore_merges,
        })
    }

    /// Appends the tokens of `word` to `out`.
    pub fn encode(&self, word: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        if let Some(&id) = self.pieces.get(word).filter(|_| self.ignore_merges) {
            return out.push(id);
        }
        let mut symbols = Vec::with_capacity(word.len());
        let mut in_unknown = false;
        let mut buffer = [0; 4];
        for c in word.chars() {
            let text = c.encode_utf8(&mut buffer);
            if let Some(&id) = self.pieces.get(&*text) {
                symbols.push(id);
                in_unknown = false;
                continue;
            }
            let bytes = || text.bytes().map(|byte| self.bytes[usize::from(byte)]);
            match self.unk {
                _ if bytes().all(|id| id.is_some()) => {
                    symbols.extend(bytes().flatten());
                    in_unknown = false;
                }
                Some(unk) if !(in_unknown && self.fuse_unk) => {
                    symbols.push(unk);
                    in_unknown = true;
                }
                _ => {}
            }
        }
        merger.merge(&self.merges, symbols, out);
    }
}
