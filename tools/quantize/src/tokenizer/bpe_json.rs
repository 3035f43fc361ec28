//! `tokenizer.json`: what transformers makes of a SentencePiece BPE model, turned back into pieces and scores.
//!
//! Merges are listed best first, each piece's together. SentencePiece merges the neighbours whose piece has the
//! highest score: the score of a piece is minus the place of its first merge.

use super::settings::Added;
use super::{Token, TokenType, Vocabulary, is_byte};
use crate::error::QuantizeError;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::path::Path;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    #[serde(default)]
    post_processor: Json,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    unk_token: Option<String>,
    vocab: Json,
    #[serde(default)]
    merges: Vec<Merge>,
}

/// `"a b"` until 2024, `["a", "b"]` since.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair(String, String),
}

impl Merge {
    fn piece(&self) -> Option<String> {
        match self {
            Self::Text(text) => text.split_once(' ').map(|(left, right)| format!("{left}{right}")),
            Self::Pair(left, right) => Some(format!("{left}{right}")),
        }
    }
}

/// Reads a tokenizer of at most `vocab_size` pieces.
pub(super) fn read(path: &Path, vocab_size: u64) -> Result<Vocabulary, QuantizeError> {
    let bytes = std::fs::read(path).map_err(|e| QuantizeError::io(path, e))?;
    let file: File = serde_json::from_slice(&bytes).map_err(|e| QuantizeError::json(path, e))?;
    vocabulary(file, vocab_size).map_err(|what| QuantizeError::unsupported(path, what))
}

fn vocabulary(file: File, vocab_size: u64) -> Result<Vocabulary, String> {
    let File {
        added_tokens,
        normalizer,
        pre_tokenizer,
        post_processor,
        model,
    } = file;
    if model.kind.as_deref() != Some("BPE") || !model.byte_fallback {
        let kind = model.kind.as_deref().unwrap_or("none");
        return Err(format!(
            "a tokenizer of type {kind}, expected BPE with byte fallback, as from SentencePiece"
        ));
    }
    let mut notes = Vec::new();
    let scores = scores(&model.merges, &mut notes)?;
    let tokens = tokens(&model, &scores, &added_tokens, vocab_size)?;
    let id = |text: &str| {
        let is_it = |token: &Option<Token>| token.as_ref().is_some_and(|token| token.text == text);
        tokens.iter().position(is_it).map(|id| id as u32)
    };
    Ok(Vocabulary {
        unk: model.unk_token.as_deref().and_then(id),
        bos: id("<s>"),
        eos: id("</s>"),
        add_bos: starts_with_special(&post_processor),
        add_space_prefix: prepends_space(&normalizer, &pre_tokenizer),
        remove_extra_whitespaces: false,
        added: added_tokens,
        tokens,
        notes,
    })
}

/// The score of every piece that a merge makes.
fn scores(merges: &[Merge], notes: &mut Vec<String>) -> Result<HashMap<String, f32>, String> {
    let mut scores = HashMap::with_capacity(merges.len());
    let mut last = String::new();
    let mut scattered = 0;
    for (place, merge) in merges.iter().enumerate() {
        let piece = merge.piece().ok_or_else(|| format!("merge {place} is no pair"))?;
        if piece != last {
            let known = scores.contains_key(&piece);
            scattered += usize::from(known);
            if !known {
                scores.insert(piece.clone(), -(place as f32));
            }
        }
        last = piece;
    }
    if scattered > 0 {
        notes.push(format!(
            "{scattered} merges are out of order; some texts may be split into other tokens"
        ));
    }
    Ok(scores)
}

fn tokens(
    model: &Model,
    scores: &HashMap<String, f32>,
    added: &[Added],
    vocab_size: u64,
) -> Result<Vec<Option<Token>>, String> {
    let vocab = model
        .vocab
        .as_object()
        .ok_or("the vocabulary is no map from pieces to ids")?;
    let lowest = -(model.merges.len() as f32);
    let specials: HashMap<u64, bool> = added.iter().map(|a| (a.id.into(), a.special)).collect();
    let mut tokens = Vec::new();
    for (text, id) in vocab {
        let id = id
            .as_u64()
            .ok_or_else(|| format!("the id of `{text}` is {id}, expected a whole number"))?;
        if id >= vocab_size {
            return Err(format!("`{text}` has id {id} in a model of {vocab_size} tokens"));
        }
        let kind = match specials.get(&id) {
            _ if model.unk_token.as_ref() == Some(text) => TokenType::Unknown,
            Some(true) => TokenType::Control,
            Some(false) => TokenType::UserDefined,
            None if is_byte(text) => TokenType::Byte,
            None => TokenType::Normal,
        };
        let score = match kind {
            TokenType::Normal => scores.get(text).copied().unwrap_or(lowest),
            _ => 0.0,
        };
        if tokens.len() <= id as usize {
            tokens.resize(id as usize + 1, None);
        }
        if tokens[id as usize]
            .replace(Token {
                text: text.clone(),
                score,
                kind,
            })
            .is_some()
        {
            return Err(format!("id {id} belongs to `{text}` and to another piece"));
        }
    }
    if tokens.is_empty() {
        Err("the vocabulary is empty".to_owned())
    } else {
        Ok(tokens)
    }
}

/// Whether the template of a single text starts with a special token.
fn starts_with_special(post_processor: &Json) -> bool {
    let nested = post_processor["processors"].as_array();
    let single = |processor: &Json| !processor["single"][0]["SpecialToken"].is_null();
    single(post_processor) || nested.is_some_and(|processors| processors.iter().any(single))
}

/// Whether text gets a space in front, by the normalizer (`Prepend`) or the pre-tokenizer (`Metaspace`).
fn prepends_space(normalizer: &Json, pre_tokenizer: &Json) -> bool {
    let steps = |step: &Json, list: &str| match step[list].as_array() {
        Some(steps) => steps.clone(),
        None => vec![step.clone()],
    };
    let prepend = |step: &Json| step["type"] == "Prepend" && step["prepend"] == "\u{2581}";
    let metaspace = |step: &Json| {
        step["type"] == "Metaspace"
            && match step["prepend_scheme"].as_str() {
                Some(scheme) => scheme != "never",
                None => step["add_prefix_space"].as_bool().unwrap_or(true),
            }
    };
    steps(normalizer, "normalizers").iter().any(prepend)
        || steps(pre_tokenizer, "pretokenizers").iter().any(metaspace)
}
