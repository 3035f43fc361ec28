//! `tokenizer.model`: the protocol buffer that SentencePiece writes, as far as it matters.
//!
//! ```text
//! 1: piece*      | 1: text | 2: score: f32 | 3: kind, 1 when absent |
//! 2: trainer     | 3: model type, 2 for BPE | 40: unknown | 41: beginning | 42: end |
//! 3: normalizer  | 1: name | 2: table of replacements | 3: dummy prefix | 4: remove extra spaces |
//! ```
//!
//! Pieces are read one by one: memory is that of the tokens, which are counted first.

mod protobuf;

use super::vocabulary::{Token, TokenType, Vocabulary};
use crate::error::OpenError;
use protobuf::{Field, Fields};
use std::path::Path;

const BPE: i32 = 2;

/// Reads a model of at most `vocab_size` pieces.
pub(super) fn read(path: &Path, vocab_size: u64) -> Result<Vocabulary, OpenError> {
    let bytes = std::fs::read(path).map_err(|e| OpenError::io(path, e))?;
    parse(&bytes, vocab_size).map_err(|what| OpenError::unsupported(path, what))
}

/// As [`read`], of bytes.
pub(crate) fn parse(bytes: &[u8], vocab_size: u64) -> Result<Vocabulary, String> {
    let damaged = |what: String| format!("not a SentencePiece model: {what}");
    let mut count = 0;
    for field in Fields(bytes) {
        count += usize::from(matches!(field.map_err(damaged)?, (1, Field::Bytes(_))));
    }
    if !(1..=vocab_size).contains(&(count as u64)) {
        return Err(format!("{count} pieces for a model of {vocab_size} tokens"));
    }
    // What a token takes in memory; in files of real tokens it is about three times their bytes.
    if count * size_of::<Option<Token>>() > 3 * bytes.len() + SPARE {
        return Err(format!("{count} pieces in {} bytes", bytes.len()));
    }
    let (mut trainer, mut normalizer) = (Trainer::default(), Normalizer::default());
    let mut tokens = Vec::with_capacity(count);
    for field in Fields(bytes) {
        match field.map_err(damaged)? {
            (1, Field::Bytes(piece)) => tokens.push(Some(token(tokens.len(), piece)?)),
            (2, Field::Bytes(message)) => trainer.read(message).map_err(damaged)?,
            (3, Field::Bytes(message)) => normalizer.read(message).map_err(damaged)?,
            _ => {}
        }
    }
    if trainer.model_type != BPE {
        return Err(format!(
            "a SentencePiece model of type {}, expected {BPE} (BPE)",
            trainer.model_type
        ));
    }
    let mut notes = Vec::new();
    if normalizer.replaces {
        notes.push(format!(
            "the tokenizer normalizes text ({}), which GGUF cannot say",
            normalizer.name
        ));
    }
    let id = |id: i32| u32::try_from(id).ok().filter(|&id| (id as usize) < count);
    Ok(Vocabulary {
        tokens,
        unk: id(trainer.unk),
        bos: id(trainer.bos),
        eos: id(trainer.eos),
        add_bos: true,
        add_space_prefix: normalizer.dummy_prefix,
        remove_extra_whitespaces: normalizer.remove_spaces,
        added: Vec::new(),
        notes,
        rules: None,
    })
}

/// Bytes of tokens that any file may have.
const SPARE: usize = 64 << 10;

/// How the model was trained; what is absent has the value given here.
struct Trainer {
    model_type: i32,
    unk: i32,
    bos: i32,
    eos: i32,
}

impl Default for Trainer {
    fn default() -> Self {
        Self {
            model_type: 1,
            unk: 0,
            bos: 1,
            eos: 2,
        }
    }
}

impl Trainer {
    fn read(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields(message) {
            let (number, field) = field?;
            let place = match number {
                3 => &mut self.model_type,
                40 => &mut self.unk,
                41 => &mut self.bos,
                42 => &mut self.eos,
                _ => continue,
            };
            *place = field.i32()?;
        }
        Ok(())
    }
}

/// What is done to text before it is cut into tokens.
struct Normalizer {
    name: String,
    replaces: bool,
    dummy_prefix: bool,
    remove_spaces: bool,
}

impl Default for Normalizer {
    fn default() -> Self {
        Self {
            name: "unnamed".to_owned(),
            replaces: false,
            dummy_prefix: true,
            remove_spaces: true,
        }
    }
}

impl Normalizer {
    fn read(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields(message) {
            match field? {
                (1, field) => self.name = field.text()?.chars().take(64).collect(),
                (2, Field::Bytes(table)) => self.replaces = !table.is_empty(),
                (3, field) => self.dummy_prefix = field.i32()? != 0,
                (4, field) => self.remove_spaces = field.i32()? != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn token(id: usize, piece: &[u8]) -> Result<Token, String> {
    let (mut text, mut score, mut kind) = ("", 0.0, 1);
    for field in Fields(piece) {
        let read = field.and_then(|(number, field)| {
            match number {
                1 => text = field.text()?,
                2 => score = field.f32()?,
                3 => kind = field.i32()?,
                _ => {}
            }
            Ok(())
        });
        read.map_err(|what: String| format!("not a SentencePiece model: piece {id}: {what}"))?;
    }
    if !score.is_finite() {
        return Err(format!("the score of piece {id} is {score}"));
    }
    let kind = match kind {
        1 => TokenType::Normal,
        2 => TokenType::Unknown,
        3 => TokenType::Control,
        4 => TokenType::UserDefined,
        5 => TokenType::Unused,
        6 => TokenType::Byte,
        other => return Err(format!("piece {id} is of type {other}, expected 1 to 6")),
    };
    Ok(Token {
        text: text.to_owned(),
        score,
        kind,
    })
}
