//! `tokenizer.model`: the protocol buffer that SentencePiece writes, as far as it matters.
//!
//! The messages follow `sentencepiece_model.proto`; absent fields have the defaults given there.

use super::{Token, TokenType, Vocabulary};
use crate::error::QuantizeError;
use prost::Message;
use std::path::Path;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pub pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    pub trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    pub normalizer: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Piece {
    #[prost(string, optional, tag = "1")]
    pub piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    pub kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    pub model_type: Option<i32>,
    #[prost(int32, optional, tag = "40")]
    pub unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41")]
    pub bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    pub eos_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NormalizerSpec {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    pub add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub remove_extra_whitespaces: Option<bool>,
}

const BPE: i32 = 2;

/// Reads a model of at most `vocab_size` pieces.
pub(super) fn read(path: &Path, vocab_size: u64) -> Result<Vocabulary, QuantizeError> {
    let bytes = std::fs::read(path).map_err(|e| QuantizeError::io(path, e))?;
    parse(&bytes, vocab_size).map_err(|what| QuantizeError::unsupported(path, what))
}

fn parse(bytes: &[u8], vocab_size: u64) -> Result<Vocabulary, String> {
    let model = ModelProto::decode(bytes).map_err(|e| format!("not a SentencePiece model: {e}"))?;
    let count = model.pieces.len();
    if !(1..=vocab_size).contains(&(count as u64)) {
        return Err(format!("{count} pieces for a model of {vocab_size} tokens"));
    }
    let trainer = model.trainer.unwrap_or_default();
    let normalizer = model.normalizer.unwrap_or_default();
    match trainer.model_type {
        Some(BPE) => {}
        other => {
            return Err(format!(
                "a SentencePiece model of type {}, expected {BPE} (BPE)",
                other.unwrap_or(1)
            ));
        }
    }
    let mut notes = Vec::new();
    if normalizer.charsmap.is_some_and(|map| !map.is_empty()) {
        let name = normalizer.name.as_deref().unwrap_or("unnamed");
        notes.push(format!(
            "the tokenizer normalizes text ({name}), which GGUF cannot say"
        ));
    }
    let tokens = model
        .pieces
        .into_iter()
        .enumerate()
        .map(token)
        .collect::<Result<_, _>>()?;
    let id = |id: Option<i32>, default| {
        u32::try_from(id.unwrap_or(default))
            .ok()
            .filter(|&id| (id as usize) < count)
    };
    Ok(Vocabulary {
        tokens,
        unk: id(trainer.unk_id, 0),
        bos: id(trainer.bos_id, 1),
        eos: id(trainer.eos_id, 2),
        add_bos: true,
        add_space_prefix: normalizer.add_dummy_prefix.unwrap_or(true),
        remove_extra_whitespaces: normalizer.remove_extra_whitespaces.unwrap_or(true),
        added: Vec::new(),
        notes,
    })
}

fn token((id, piece): (usize, Piece)) -> Result<Option<Token>, String> {
    let score = piece.score.unwrap_or(0.0);
    if !score.is_finite() {
        return Err(format!("the score of piece {id} is {score}"));
    }
    let kind = match piece.kind.unwrap_or(1) {
        1 => TokenType::Normal,
        2 => TokenType::Unknown,
        3 => TokenType::Control,
        4 => TokenType::UserDefined,
        5 => TokenType::Unused,
        6 => TokenType::Byte,
        other => return Err(format!("piece {id} is of type {other}, expected 1 to 6")),
    };
    Ok(Some(Token {
        text: piece.piece.unwrap_or_default(),
        score,
        kind,
    }))
}
