//! Tokenizers: `tokenizer.model` or `tokenizer.json`, as the metadata that GGUF's `llama` tokenizers have, and
//! `tekken.json`, as that of its `gpt2` tokenizers.

mod bpe_json;
mod chat_templates;
mod sentencepiece;
mod settings;
mod tekken;
#[cfg(test)]
mod tests;

use crate::error::QuantizeError;
use crate::hf::{SpecialTokens, set_default};
use bise_tensor::gguf::Metadata;
use settings::{Added, Settings};
use std::path::{Path, PathBuf};
use tekken::Tekken;

/// What a token is, as SentencePiece and GGUF number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A token: its text, the score that orders merges (the highest first), and what it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub text: String,
    pub score: f32,
    pub kind: TokenType,
}

/// What the tokenizer's own file says.
pub(crate) struct Vocabulary {
    /// By id; `None` where the file has a gap.
    pub tokens: Vec<Option<Token>>,
    pub unk: Option<u32>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub add_bos: bool,
    pub add_space_prefix: bool,
    pub remove_extra_whitespaces: bool,
    pub added: Vec<Added>,
    pub notes: Vec<String>,
}

/// A tokenizer that is as long as the model's vocabulary.
pub(crate) struct Tokenizer {
    kind: Kind,
    settings: Settings,
}

enum Kind {
    Pieces(Vec<Token>, Vocabulary),
    Tekken(Tekken, u64),
}

/// Reads the tokenizer in `directory`, if there is one.
pub(crate) fn read(directory: &Path, vocab_size: u64) -> Result<Option<Tokenizer>, QuantizeError> {
    let settings = Settings::read(directory, vocab_size)?;
    let json = directory.join("tokenizer.json");
    let tekken = directory.join("tekken.json");
    let mut vocabulary = if let Some(model) = sentencepiece_model(directory) {
        sentencepiece::read(&model, vocab_size)?
    } else if tekken.exists() {
        let kind = Kind::Tekken(tekken::read(&tekken, Some(vocab_size))?, vocab_size);
        return Ok(Some(Tokenizer { kind, settings }));
    } else if json.exists() {
        bpe_json::read(&json, vocab_size)?
    } else {
        return Ok(None);
    };
    vocabulary.added.extend(settings.added.iter().cloned());
    let tokens = complete(&mut vocabulary, vocab_size);
    let kind = Kind::Pieces(tokens, vocabulary);
    Ok(Some(Tokenizer { kind, settings }))
}

/// The metadata that a `tekken.json` becomes.
///
/// # Errors
/// When the file cannot be read, is damaged, or is of a kind that GGUF cannot say.
pub fn tekken_metadata(path: &Path) -> Result<Metadata, QuantizeError> {
    let mut metadata = Metadata::new();
    tekken::read(path, None)?.describe(0, &mut metadata);
    Ok(metadata)
}

/// The newest of the SentencePiece models in `directory`: Mistral's own directories have the version in the name.
fn sentencepiece_model(directory: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 5] = [
        "tokenizer.model",
        "tokenizer.model.v7",
        "tokenizer.model.v3",
        "tokenizer.model.v2",
        "tokenizer.model.v1",
    ];
    let mut paths = NAMES.iter().map(|name| directory.join(name));
    paths.find(|path| path.exists())
}

/// The file's tokens and the added ones; ids that nobody names become unused tokens.
fn complete(vocabulary: &mut Vocabulary, vocab_size: u64) -> Vec<Token> {
    const ADDED_SCORE: f32 = -1000.0;
    const UNUSED_SCORE: f32 = -10000.0;
    let mut tokens = std::mem::take(&mut vocabulary.tokens);
    tokens.resize(vocab_size as usize, None);
    for Added { id, text, special } in std::mem::take(&mut vocabulary.added) {
        let kind = if special {
            TokenType::Control
        } else {
            TokenType::UserDefined
        };
        let added = Token {
            text,
            score: ADDED_SCORE,
            kind,
        };
        match tokens.get_mut(id as usize) {
            None => vocabulary.notes.push(format!(
                "added token {id} `{}` is left out: the model has {vocab_size} tokens",
                added.text
            )),
            Some(Some(token)) if token.text == added.text => {
                if token.kind == TokenType::Normal {
                    token.kind = kind;
                }
            }
            Some(place) => {
                if let Some(old) = place {
                    vocabulary
                        .notes
                        .push(format!("token {id} `{}` becomes `{}`", old.text, added.text));
                }
                *place = Some(added);
            }
        }
    }
    let unused = |id| Token {
        text: format!("[PAD{id}]"),
        score: UNUSED_SCORE,
        kind: TokenType::Unused,
    };
    tokens
        .into_iter()
        .enumerate()
        .map(|(id, token)| token.unwrap_or_else(|| unused(id)))
        .collect()
}

impl Tokenizer {
    /// Adds the tokenizer to `metadata`, keys as llama.cpp's converter writes them; `special` are the
    /// configuration's tokens, for when the tokenizer names none.
    pub(crate) fn describe(self, special: &SpecialTokens, metadata: &mut Metadata, notes: &mut Vec<String>) {
        let Self { kind, settings } = self;
        let (tokens, vocabulary) = match kind {
            Kind::Pieces(tokens, vocabulary) => (tokens, vocabulary),
            Kind::Tekken(tekken, vocab_size) => {
                tekken.describe(vocab_size, metadata);
                return chat_templates::describe(settings.chat_templates, metadata);
            }
        };
        let named = |text: &Option<String>| {
            let text = text.as_ref()?;
            tokens
                .iter()
                .position(|token| token.text == *text)
                .map(|id| id as u32)
        };
        let bos = named(&settings.bos).or(vocabulary.bos).or(special.bos);
        let eos = named(&settings.eos).or(vocabulary.eos).or(special.eos);
        let pad = named(&settings.pad);
        let add_prefix = settings.add_prefix_space.unwrap_or(vocabulary.add_space_prefix);
        let mut set = |key: &str, value| set_default(metadata, &format!("tokenizer.{key}"), value);
        set("ggml.model", Some("llama".into()));
        set("ggml.pre", Some("default".into()));
        set(
            "ggml.scores",
            Some(tokens.iter().map(|t| t.score).collect::<Vec<f32>>().into()),
        );
        set(
            "ggml.token_type",
            Some(tokens.iter().map(|t| t.kind as i32).collect::<Vec<i32>>().into()),
        );
        set("ggml.bos_token_id", bos.map(Into::into));
        set("ggml.eos_token_id", eos.map(Into::into));
        set("ggml.unknown_token_id", vocabulary.unk.map(Into::into));
        set("ggml.padding_token_id", pad.map(Into::into));
        set(
            "ggml.add_bos_token",
            Some(settings.add_bos.unwrap_or(vocabulary.add_bos).into()),
        );
        set(
            "ggml.add_eos_token",
            Some(settings.add_eos.unwrap_or(false).into()),
        );
        set("ggml.add_space_prefix", Some(add_prefix.into()));
        set(
            "ggml.remove_extra_whitespaces",
            vocabulary.remove_extra_whitespaces.then_some(true.into()),
        );
        let texts: Vec<String> = tokens.into_iter().map(|t| t.text).collect();
        set("ggml.tokens", Some(texts.into()));
        chat_templates::describe(settings.chat_templates, metadata);
        notes.extend(vocabulary.notes);
    }
}

/// Whether `text` stands for a byte, as in `<0x0A>`.
fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
