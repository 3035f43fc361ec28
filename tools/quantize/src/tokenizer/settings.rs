//! What lies beside a tokenizer: `tokenizer_config.json`, `added_tokens.json`, chat templates.

use super::chat_templates;
use crate::error::QuantizeError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// A token that was added to a vocabulary.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Added {
    pub id: u32,
    #[serde(rename = "content")]
    pub text: String,
    #[serde(default)]
    pub special: bool,
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
    added_tokens_decoder: Option<&'a RawValue>,
    chat_template: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Content {
    content: String,
    #[serde(default)]
    special: bool,
}

/// A token's text, bare or with properties.
fn text(what: &str, token: Option<&RawValue>) -> Result<Option<String>, String> {
    let Some(token) = token.map(RawValue::get) else {
        return Ok(None);
    };
    let text = match token.starts_with('"') {
        true => serde_json::from_str(token),
        false => serde_json::from_str(token).map(|token: Option<Content>| token.map(|token| token.content)),
    };
    text.map_err(|e| format!("{what}: {e}"))
}

/// Reads a list or map of tokens, which are no more than a model of `vocab_size` has, but for some that it leaves out.
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

/// The settings of a tokenizer, none of which need be there.
#[derive(Default)]
pub(crate) struct Settings {
    pub bos: Option<String>,
    pub eos: Option<String>,
    pub pad: Option<String>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_prefix_space: Option<bool>,
    pub added: Vec<Added>,
    /// Names and sources.
    pub chat_templates: Vec<(String, String)>,
}

impl Settings {
    /// Reads what there is in `directory`, beside the tokenizer of a model of `vocab_size` tokens.
    pub(crate) fn read(directory: &Path, vocab_size: u64) -> Result<Self, QuantizeError> {
        let mut settings = Self::default();
        let path = directory.join("tokenizer_config.json");
        if let Some(bytes) = read_optional(&path)? {
            let file: File = serde_json::from_slice(&bytes).map_err(|e| QuantizeError::json(&path, e))?;
            settings =
                Self::of_file(&file, vocab_size).map_err(|what| QuantizeError::unsupported(&path, what))?;
        }
        let path = directory.join("added_tokens.json");
        if let Some(bytes) = read_optional(&path)? {
            let list: &RawValue =
                serde_json::from_slice(&bytes).map_err(|e| QuantizeError::json(&path, e))?;
            let more: BTreeMap<String, u32> = bounded_list(list, "the file", vocab_size)
                .map_err(|what| QuantizeError::unsupported(&path, what))?;
            settings.added.extend(more.into_iter().map(|(text, id)| Added {
                id,
                text,
                special: false,
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
        let added = added.into_iter().map(|(id, token)| Added {
            id,
            text: token.content,
            special: token.special,
        });
        Ok(Self {
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

pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, QuantizeError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(QuantizeError::io(path, e)),
    }
}
