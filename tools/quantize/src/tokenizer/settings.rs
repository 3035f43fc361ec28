//! What lies beside a tokenizer: `tokenizer_config.json`, `added_tokens.json`, `chat_template.jinja`.

use crate::error::QuantizeError;
use crate::hf::read_json;
use serde::Deserialize;
use std::collections::BTreeMap;
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

#[derive(Default, Deserialize)]
struct File {
    bos_token: Option<Text>,
    eos_token: Option<Text>,
    pad_token: Option<Text>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    add_prefix_space: Option<bool>,
    #[serde(default)]
    added_tokens_decoder: BTreeMap<u32, Content>,
    chat_template: Option<Templates>,
}

#[derive(Deserialize)]
struct Content {
    content: String,
    #[serde(default)]
    special: bool,
}

/// A token's text, bare or with properties.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Bare(String),
    Token(Content),
}

impl Text {
    fn into_text(self) -> String {
        match self {
            Self::Bare(text) => text,
            Self::Token(token) => token.content,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<Template>),
}

#[derive(Deserialize)]
struct Template {
    name: String,
    template: String,
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
    /// The default one has no name.
    pub chat_templates: Vec<(Option<String>, String)>,
}

impl Settings {
    pub(crate) fn read(directory: &Path) -> Result<Self, QuantizeError> {
        let file: File = read_json(&directory.join("tokenizer_config.json"))?.unwrap_or_default();
        let more: BTreeMap<String, u32> =
            read_json(&directory.join("added_tokens.json"))?.unwrap_or_default();
        let more = more.into_iter().map(|(text, id)| Added {
            id,
            text,
            special: false,
        });
        let added = file.added_tokens_decoder.into_iter();
        let added = added.map(|(id, token)| Added {
            id,
            text: token.content,
            special: token.special,
        });
        let mut chat_templates = match file.chat_template {
            None => Vec::new(),
            Some(Templates::One(template)) => vec![(None, template)],
            Some(Templates::Named(templates)) => templates.into_iter().map(Template::entry).collect(),
        };
        let path = directory.join("chat_template.jinja");
        match std::fs::read_to_string(&path) {
            Ok(template) => {
                chat_templates.retain(|(name, _)| name.is_some());
                chat_templates.insert(0, (None, template));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(QuantizeError::io(&path, e)),
        }
        Ok(Self {
            bos: file.bos_token.map(Text::into_text),
            eos: file.eos_token.map(Text::into_text),
            pad: file.pad_token.map(Text::into_text),
            add_bos: file.add_bos_token,
            add_eos: file.add_eos_token,
            add_prefix_space: file.add_prefix_space,
            added: added.chain(more).collect(),
            chat_templates,
        })
    }
}

impl Template {
    fn entry(self) -> (Option<String>, String) {
        ((self.name != "default").then_some(self.name), self.template)
    }
}
