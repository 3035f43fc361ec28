//! `tokenizer.json`: the BPE of transformers, of characters with byte fallback (what it makes of a
//! SentencePiece model) or of bytes.
//!
//! Merges are listed best first, each piece's together. SentencePiece merges the neighbours whose
//! piece has the highest score: for readers that know scores only, that of a piece is minus the
//! place of its first merge. The normalizer and the pre-tokenizer are kept as they stand there.

use super::settings::{Added, bounded_list};
use super::vocabulary::{Rules, Token, TokenType, Vocabulary, is_byte};
use super::words;
use crate::error::OpenError;
use crate::small_file::bounded;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// The parts of the file, as they stand there: lists are read one entry at a time, so that none
/// takes more memory than the model's vocabulary.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    added_tokens: Option<&'a RawValue>,
    normalizer: Option<&'a RawValue>,
    pre_tokenizer: Option<&'a RawValue>,
    post_processor: Option<&'a RawValue>,
    model: Model<'a>,
}

#[derive(Deserialize)]
struct Model<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    ignore_merges: bool,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    unk_token: Option<String>,
    #[serde(borrow)]
    vocab: &'a RawValue,
    merges: Option<&'a RawValue>,
}

/// Reads a tokenizer of at most `vocab_size` pieces.
pub(super) fn read(path: &Path, vocab_size: u64) -> Result<Vocabulary, OpenError> {
    let bytes = std::fs::read(path).map_err(|e| OpenError::io(path, e))?;
    let file: File = serde_json::from_slice(&bytes).map_err(|e| OpenError::json(path, e))?;
    vocabulary(&file, vocab_size).map_err(|what| OpenError::unsupported(path, what))
}

fn vocabulary(file: &File, vocab_size: u64) -> Result<Vocabulary, String> {
    let model = &file.model;
    let (normalizer, pre_tokenizer) = (
        small("normalizer", file.normalizer)?,
        small("pre_tokenizer", file.pre_tokenizer)?,
    );
    let bytes = words::is_byte_level(&pre_tokenizer);
    if model.kind.as_deref() != Some("BPE") || model.byte_fallback == bytes {
        let kind = model.kind.as_deref().unwrap_or("none");
        return Err(format!(
            "a tokenizer of type {kind}, expected BPE with byte fallback, as from SentencePiece, or of bytes (ByteLevel)"
        ));
    }
    for (what, set) in [
        ("dropout", model.dropout.is_some_and(|dropout| dropout > 0.0)),
        (
            "continuing_subword_prefix",
            model
                .continuing_subword_prefix
                .as_ref()
                .is_some_and(|p| !p.is_empty()),
        ),
        (
            "end_of_word_suffix",
            model.end_of_word_suffix.as_ref().is_some_and(|p| !p.is_empty()),
        ),
    ] {
        if set {
            return Err(format!("the model has {what}, which is not supported"));
        }
    }
    let pre = if bytes {
        Some(words::name(&pre_tokenizer)?)
    } else {
        None
    };
    let added: Vec<Added> = match file.added_tokens {
        Some(list) => bounded_list(list, "added_tokens", vocab_size)?,
        None => Vec::new(),
    };
    let post_processor = small("post_processor", file.post_processor)?;
    let mut tokens = tokens(model, &added, vocab_size)?;
    let mut notes = Vec::new();
    let merges = match model.merges {
        Some(merges) => score(merges, &mut tokens, &mut notes, vocab_size, bytes)?,
        None => Vec::new(),
    };
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
        added,
        tokens,
        notes,
        rules: Some(Rules {
            normalizer: normalizer.to_string(),
            pre_tokenizer: pre_tokenizer.to_string(),
            merges: Some(merges),
            fuse_unk: model.fuse_unk,
            ignore_merges: model.ignore_merges,
            pre,
        }),
    })
}

/// A part that has few values in real files.
fn small(what: &str, part: Option<&RawValue>) -> Result<Json, String> {
    let Some(part) = part.map(RawValue::get) else {
        return Ok(Json::Null);
    };
    bounded(part.as_bytes(), 0).map_err(|_| format!("{what} has too many entries"))?;
    serde_json::from_str(part).map_err(|e| format!("{what}: {e}"))
}

/// The pieces by their ids, and what they are; none has a score yet.
fn tokens(model: &Model, added: &[Added], vocab_size: u64) -> Result<Vec<Option<Token>>, String> {
    let specials: HashMap<u32, bool> = added.iter().map(|a| (a.id, a.token.special)).collect();
    let mut tokens = Vec::new();
    let mut pieces = Pieces {
        vocab_size,
        tokens: &mut tokens,
        fault: None,
    };
    let read = serde_json::Deserializer::from_str(model.vocab.get()).deserialize_map(&mut pieces);
    if let Some(fault) = pieces.fault {
        return Err(fault);
    }
    read.map_err(|_| "the vocabulary is no map from pieces to ids".to_owned())?;
    for (id, token) in tokens.iter_mut().enumerate() {
        let Some(token) = token else { continue };
        token.kind = match specials.get(&(id as u32)) {
            _ if model.unk_token.as_ref() == Some(&token.text) => TokenType::Unknown,
            Some(true) => TokenType::Control,
            Some(false) => TokenType::UserDefined,
            None if model.byte_fallback && is_byte(&token.text) => TokenType::Byte,
            None => TokenType::Normal,
        };
    }
    if tokens.is_empty() {
        Err("the vocabulary is empty".to_owned())
    } else {
        Ok(tokens)
    }
}

/// Reads `{"piece": id, ...}`.
struct Pieces<'a> {
    vocab_size: u64,
    tokens: &'a mut Vec<Option<Token>>,
    fault: Option<String>,
}

impl Pieces<'_> {
    fn add(&mut self, text: String, id: &Json) -> Result<(), String> {
        let size = self.vocab_size;
        let id = id
            .as_u64()
            .ok_or_else(|| format!("the id of `{text}` is {id}, expected a whole number"))?;
        if id >= size {
            return Err(format!("`{text}` has id {id} in a model of {size} tokens"));
        }
        let id = id as usize;
        if self.tokens.len() <= id {
            self.tokens.resize(id + 1, None);
        }
        if self.tokens[id].is_some() {
            return Err(format!("id {id} belongs to `{text}` and to another piece"));
        }
        let (score, kind) = (0.0, TokenType::Normal);
        self.tokens[id] = Some(Token { text, score, kind });
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Pieces<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map from pieces to ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(text) = map.next_key::<String>()? {
            // Ids that are lists or maps are none, and may be long.
            let id: &RawValue = map.next_value()?;
            let id = match id.get().len() {
                0..=32 => serde_json::from_str(id.get()).map_err(A::Error::custom)?,
                _ => Json::Null,
            };
            if let Err(fault) = self.add(text, &id) {
                self.fault = Some(fault);
                return Err(A::Error::custom("a piece is wrong"));
            }
        }
        Ok(())
    }
}

/// Gives every piece that a merge makes its score, and all others a lower one; returns the pairs,
/// as ids.
fn score(
    merges: &RawValue,
    tokens: &mut [Option<Token>],
    notes: &mut Vec<String>,
    vocab_size: u64,
    bytes: bool,
) -> Result<Vec<u32>, String> {
    let there = tokens.iter().enumerate();
    let ids = there.filter_map(|(id, token)| Some((token.as_ref()?.text.as_str(), id as u32)));
    let mut merged = Merges {
        ids: ids.collect(),
        places: vec![None; tokens.len()],
        pairs: Vec::new(),
        last: None,
        scattered: 0,
        most: MERGES * (vocab_size as usize + SPARE),
        fault: None,
    };
    let read = serde_json::Deserializer::from_str(merges.get()).deserialize_seq(&mut merged);
    let Merges {
        places,
        pairs,
        scattered,
        fault,
        ..
    } = merged;
    read.map_err(|e| fault.unwrap_or_else(|| format!("merges: {e}")))?;
    let count = pairs.len() / 2;
    for (token, place) in tokens.iter_mut().zip(places) {
        if let Some(token) = token.as_mut().filter(|token| token.kind == TokenType::Normal) {
            token.score = -(place.unwrap_or(count as u32) as f32);
        }
    }
    if scattered > 0 && !bytes {
        notes.push(format!(
            "{scattered} merges are out of order, which scores cannot say: llama.cpp may split some texts into other tokens"
        ));
    }
    Ok(pairs)
}

/// Merges for each token, and tokens that any model may have more; real vocabularies have about
/// two.
const MERGES: usize = 16;
const SPARE: usize = 1024;

/// Reads `["a b", ...]`, as it was until 2024, or `[["a", "b"], ...]`, as it has been since.
struct Merges<'a> {
    ids: HashMap<&'a str, u32>,
    /// Where each piece is made first.
    places: Vec<Option<u32>>,
    pairs: Vec<u32>,
    /// What the last merge made.
    last: Option<u32>,
    scattered: usize,
    most: usize,
    fault: Option<String>,
}

impl Merges<'_> {
    /// Adds a merge of the text `both`, whose left part has `left` bytes.
    fn add(&mut self, both: &str, left: Option<usize>) -> Result<(), String> {
        let count = self.pairs.len() / 2;
        let left = left.ok_or_else(|| format!("merge {count} is no pair"))?;
        if count >= self.most {
            return Err(format!("there are more than {} merges", self.most));
        }
        let id = |text: &str| {
            let id = self.ids.get(text).copied();
            id.ok_or_else(|| {
                format!("merge {count} is of or makes `{text}`, which is not in the vocabulary")
            })
        };
        let (pair, made) = ([id(&both[..left])?, id(&both[left..])?], id(both)?);
        if self.last.replace(made) != Some(made) {
            let place = &mut self.places[made as usize];
            self.scattered += usize::from(place.is_some());
            place.get_or_insert(count as u32);
        }
        self.pairs.extend(pair);
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Merges<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut both = String::new();
        while let Some(left) = list.next_element_seed(Merge(&mut both))? {
            if let Err(fault) = self.add(&both, left) {
                self.fault = Some(fault);
                return Err(A::Error::custom("a merge is wrong"));
            }
        }
        Ok(())
    }
}

/// Reads `"a b"` or `["a", "b"]` as `ab`, and tells how long the left part is; `None` for what is
/// no pair.
struct Merge<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Merge<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        self.0.clear();
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Merge<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a pair of pieces")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<usize>, E> {
        let Some((left, right)) = text.split_once(' ') else {
            return Ok(None);
        };
        self.0.push_str(left);
        self.0.push_str(right);
        Ok(Some(left.len()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Option<usize>, A::Error> {
        let mut left = 0;
        for _ in 0..2 {
            left = self.0.len();
            match pair.next_element::<Cow<str>>()? {
                Some(part) => self.0.push_str(&part),
                None => return Ok(None),
            }
        }
        Ok(pair.next_element::<IgnoredAny>()?.is_none().then_some(left))
    }
}

/// Whether the template of a single text starts with a special token.
fn starts_with_special(post_processor: &Json) -> bool {
    let nested = post_processor["processors"].as_array();
    let single = |processor: &Json| !processor["single"][0]["SpecialToken"].is_null();
    single(post_processor) || nested.is_some_and(|processors| processors.iter().any(single))
}

/// Whether text gets a space in front, by the normalizer (`Prepend`) or the pre-tokenizer
/// (`Metaspace`).
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
