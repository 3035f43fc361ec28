//! What lies beside a tokenizer: `tokenizer_config.json`, `added_tokens.json`, chat templates.

use super::chat_templates;
use crate::error::OpenError;
use crate::small_file::read_optional;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A token that was added to a vocabulary.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Added {
    pub id: u32,
    #[serde(flatten)]
    pub token: Content,
}

impl Added {
    /// A special token as one is that only its name is known of.
    pub fn special(id: u32, content: String) -> Self {
        let token = Content {
            content,
            special: true,
            ..Content::default()
        };
        Self { id, token }
    }
}

/// The parts of the file, as they stand there.
#[derive(Default, Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    bos_token: Option<&'a RawValue>,
    eos_token: Option<&'a RawValue>,
    pad_token: Option<&'a RawValue>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    add_prefix_space: Option<bool>,
    legacy: Option<bool>,
    unk_token: Option<&'a RawValue>,
    cls_token: Option<&'a RawValue>,
    sep_token: Option<&'a RawValue>,
    mask_token: Option<&'a RawValue>,
    additional_special_tokens: Option<&'a RawValue>,
    extra_special_tokens: Option<&'a RawValue>,
    added_tokens_decoder: Option<&'a RawValue>,
    chat_template: Option<&'a RawValue>,
}

/// What an added token is and how it is found in text.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Content {
    pub content: String,
    #[serde(default)]
    pub special: bool,
    /// Where the file does not say it, special tokens are not.
    normalized: Option<bool>,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

impl Content {
    /// The flags as metadata has them, `piece` being whether merging can make the token too.
    pub fn bits(&self, piece: bool) -> u32 {
        let normalized = self.normalized.unwrap_or(!self.special);
        let flags = [normalized, self.lstrip, self.rstrip, self.single_word, piece];
        flags
            .iter()
            .rev()
            .fold(0, |bits, &flag| bits << 1 | u32::from(flag))
    }

    /// Makes the token special; it is found as before.
    pub fn make_special(&mut self) {
        self.normalized.get_or_insert(!self.special);
        self.special = true;
    }

    /// As the tokens of a SentencePiece model are found.
    pub fn of_piece(content: String, special: bool) -> Self {
        Self {
            content,
            special,
            normalized: Some(false),
            ..Self::default()
        }
    }
}

/// A token's text, bare or with properties.
fn text(what: &str, token: Option<&RawValue>) -> Result<Option<String>, String> {
    let Some(token) = token.map(RawValue::get) else {
        return Ok(None);
    };
    let text = match token.starts_with('"') {
        true => serde_json::from_str(token),
        false => serde_json::from_str(token)
            .map(|token: Option<Content>| token.map(|token| token.content)),
    };
    text.map_err(|e| format!("{what}: {e}"))
}

/// Reads a list or map of tokens, which are no more than a model of `vocab_size` has, but for some
/// that it leaves out.
pub(super) fn bounded_list<T: DeserializeOwned>(
    list: &RawValue,
    what: &str,
    vocab_size: u64,
) -> Result<T, String> {
    const MORE: u64 = 1024;
    let separators = list.get().bytes().filter(|&byte| byte == b':').count() as u64;
    // Each token has a name for its text, in a list also its id.
    if separators > 8 * (vocab_size + MORE) {
        return Err(format!(
            "{what} has too many entries for a model of {vocab_size} tokens"
        ));
    }
    serde_json::from_str(list.get()).map_err(|e| format!("{what}: {e}"))
}

/// Tokens by their texts: a list, or a map from names.
fn texts(what: &str, tokens: Option<&RawValue>, vocab_size: u64) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Token {
        Bare(String),
        Content(Content),
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Tokens {
        List(Vec<Token>),
        Map(BTreeMap<String, Token>),
    }
    let tokens = match tokens {
        None => return Ok(Vec::new()),
        Some(tokens) if tokens.get().len() as u64 > 64 * (vocab_size + 1024) => {
            return Err(format!(
                "{what} is longer than a model of {vocab_size} tokens can need"
            ));
        }
        Some(tokens) => serde_json::from_str(tokens.get()).map_err(|e| format!("{what}: {e}"))?,
    };
    let text = |token| match token {
        Token::Bare(text) => text,
        Token::Content(token) => token.content,
    };
    Ok(match tokens {
        Tokens::List(tokens) => tokens.into_iter().map(text).collect(),
        Tokens::Map(tokens) => tokens.into_values().map(text).collect(),
    })
}

/// The settings of a tokenizer, none of which need be there.
#[derive(Default)]
pub(crate) struct Settings {
    pub bos: Option<String>,
    pub eos: Option<String>,
    pub pad: Option<String>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_prefix_space: Option<bool>,
    /// Whether there is a `tokenizer_config.json`, without which a directory is not of
    /// transformers.
    pub configured: bool,
    /// Whether every text behind a special token gets a space in front, as it was before 2023; of
    /// `tokenizer.model` only.
    pub legacy: bool,
    /// Tokens that the file names for some purpose, which makes them special.
    pub named: Vec<String>,
    pub added: Vec<Added>,
    /// Names and sources.
    pub chat_templates: Vec<(String, String)>,
}

impl Settings {
    /// Reads what there is in `directory`, beside the tokenizer of a model of `vocab_size` tokens.
    pub(crate) fn read(directory: &Path, vocab_size: u64) -> Result<Self, OpenError> {
        let mut settings = Self::default();
        let path = directory.join("tokenizer_config.json");
        if let Some(bytes) = read_optional(&path)? {
            let file: File =
                serde_json::from_slice(&bytes).map_err(|e| OpenError::json(&path, e))?;
            settings = Self::of_file(&file, vocab_size)
                .map_err(|what| OpenError::unsupported(&path, what))?;
        }
        let path = directory.join("added_tokens.json");
        if let Some(bytes) = read_optional(&path)? {
            let list: &RawValue =
                serde_json::from_slice(&bytes).map_err(|e| OpenError::json(&path, e))?;
            let more: BTreeMap<String, u32> = bounded_list(list, "the file", vocab_size)
                .map_err(|what| OpenError::unsupported(&path, what))?;
            let known: BTreeSet<u32> = settings.added.iter().map(|added| added.id).collect();
            let more = more.into_iter().filter(|(_, id)| !known.contains(id));
            settings.added.extend(more.map(|(content, id)| Added {
                id,
                token: Content {
                    content,
                    ..Content::default()
                },
            }));
        }
        let files = chat_templates::of_files(directory)?;
        if !files.is_empty() {
            settings.chat_templates = files;
        }
        if settings.chat_templates.is_empty() {
            settings.chat_templates = chat_templates::of_processor(directory)?;
        }
        Ok(settings)
    }

    fn of_file(file: &File, vocab_size: u64) -> Result<Self, String> {
        let added: BTreeMap<u32, Content> = match file.added_tokens_decoder {
            Some(list) => bounded_list(list, "added_tokens_decoder", vocab_size)?,
            None => BTreeMap::new(),
        };
        let added = added.into_iter().map(|(id, token)| Added { id, token });
        let mut named = Vec::new();
        for (what, token) in [
            ("bos_token", file.bos_token),
            ("eos_token", file.eos_token),
            ("unk_token", file.unk_token),
            ("sep_token", file.sep_token),
            ("pad_token", file.pad_token),
            ("cls_token", file.cls_token),
            ("mask_token", file.mask_token),
        ] {
            named.extend(text(what, token)?);
        }
        for (what, tokens) in [
            ("additional_special_tokens", file.additional_special_tokens),
            ("extra_special_tokens", file.extra_special_tokens),
        ] {
            named.extend(texts(what, tokens, vocab_size)?);
        }
        Ok(Self {
            configured: true,
            legacy: file.legacy.unwrap_or(true),
            named,
            bos: text("bos_token", file.bos_token)?,
            eos: text("eos_token", file.eos_token)?,
            pad: text("pad_token", file.pad_token)?,
            add_bos: file.add_bos_token,
            add_eos: file.add_eos_token,
            add_prefix_space: file.add_prefix_space,
            added: added.collect(),
            chat_templates: match file.chat_template {
                Some(templates) => chat_templates::of_json(templates)?,
                None => Vec::new(),
            },
        })
    }
}
