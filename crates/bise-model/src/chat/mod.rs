//! From conversations to tokens, as each Mistral model was trained to read them, and from answers to messages.
//!
//! A [`Template`] is a [`Version`] of Mistral's format, whose tokens are built message by message, or a Jinja
//! template such as GGUF files carry. [`Template::detect`] finds what a file needs. Ids are those of
//! mistral-common, which the goldens in `fixtures/chat` prove.
//!
//! Whatever a message says, its text never becomes a control token: structure comes from the template alone.
//!
//! ```
//! use bise_model::Model;
//! use bise_model::chat::{Message, Template};
//! use bise_model::tokenizer::{Tokenizer, Vocabulary};
//!
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
//! let model = Model::open(path.as_ref())?;
//! let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
//!
//! let template = Template::from_name("v1", model.metadata())?;
//! let mut messages = vec![Message::system("Be brief."), Message::user("Who are you? </s>")];
//! let ids = template.encode(&tokenizer, &messages, &[])?;
//! assert_eq!(tokenizer.decode(&ids), "[INST] Be brief.\n\nWho are you? </s> [/INST]");
//! let (bos, eos) = (tokenizer.token("<s>").unwrap(), tokenizer.token("</s>").unwrap());
//! assert_eq!(ids[0], bos);
//! assert!(!ids[1..].contains(&bos) && !ids.contains(&eos));
//!
//! // The longer conversation begins with the tokens of the shorter one.
//! messages.extend([Message::assistant("A story teller."), Message::user("Then tell one.")]);
//! assert!(template.encode(&tokenizer, &messages, &[])?.starts_with(&ids));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod error;
mod inert;
mod jinja;
mod json;
mod message;
mod rules;
mod version;

use std::path::Path;

use bise_tensor::gguf::Metadata;

use crate::tokenizer::{Algorithm, Tokenizer};

pub use error::ChatError;
pub use jinja::Jinja;
pub use message::{Conversation, Message, Tool, ToolCall};
pub use version::Version;

/// Metadata in which `bise quantize` keeps a tokenizer's version (`v7`), where the source says it.
pub const VERSION_KEY: &str = "tokenizer.mistral.version";

/// Metadata with the Jinja template of a file.
const TEMPLATE_KEY: &str = "tokenizer.chat_template";

/// How conversations become tokens.
#[derive(Debug, Clone)]
pub enum Template {
    /// A version of Mistral's format.
    Mistral(Version),
    /// A Jinja template: the file's own, or the user's.
    Jinja(Jinja),
}

impl Template {
    /// The template that a file needs; `None` if it is not made for chats.
    ///
    /// The version that the quantizer noted decides, then the words of the file's Jinja template and the control
    /// tokens. A Jinja template that is none of Mistral's, or of a version not known here, is used as it is. A SentencePiece vocabulary of 32000
    /// pieces without any template is taken for Mistral 7B's or Mixtral's first one.
    pub fn detect(metadata: &Metadata, tokenizer: &Tokenizer) -> Option<Self> {
        let text = |key| metadata.str(key).ok().flatten();
        let jinja = text(TEMPLATE_KEY);
        let own = || Jinja::new(jinja?.to_owned()).ok().map(Self::Jinja);
        if let Some(name) = text(VERSION_KEY) {
            return Version::from_name(name).map(Self::Mistral).or_else(own);
        }
        let has = |piece| version::control_token(tokenizer, piece).is_some();
        let says = |word| jinja.is_some_and(|jinja| jinja.contains(word));
        if jinja.is_some() && !says("[INST]") {
            return own();
        }
        let known = jinja.is_some();
        let version = match tokenizer.vocabulary().algorithm {
            _ if !has("[INST]") => {
                let first = tokenizer.vocabulary().algorithm == Algorithm::SentencePiece
                    && (known || tokenizer.vocabulary().len() == 32000);
                return first.then_some(Self::Mistral(Version::V1));
            }
            _ if has("[ARGS]") && (says("[ARGS]") || !known) => {
                // v11 writes the ids of calls; without a template, tokens for thoughts tell the later one.
                match if known { says("[CALL_ID]") } else { !has("[THINK]") } {
                    true => Version::V11,
                    false => Version::V13,
                }
            }
            _ if known && says("[SYSTEM_PROMPT]") => Version::V7,
            // Nemo's vocabulary has tokens for system prompts, but its format does not use them.
            Algorithm::SentencePiece if !known && has("[SYSTEM_PROMPT]") => Version::V7,
            _ => Version::V3,
        };
        Some(Self::Mistral(version))
    }

    /// A template by its name: `v1`, `v2`, `v3`, `v7`, `v11` or `v13`, also written `mistral-v3` or `v3-tekken`;
    /// `gguf` for the Jinja template in `metadata`; or else the path of a Jinja file.
    ///
    /// # Errors
    /// For an unknown name, a file that cannot be read, and a Jinja template that is malformed or absent.
    pub fn from_name(name: &str, metadata: &Metadata) -> Result<Self, ChatError> {
        if let Some(version) = Version::from_name(name) {
            return Ok(Self::Mistral(version));
        }
        if name == "gguf" {
            let jinja = metadata
                .str(TEMPLATE_KEY)
                .ok()
                .flatten()
                .ok_or(ChatError::NoTemplate)?;
            return Ok(Self::Jinja(Jinja::new(jinja.to_owned())?));
        }
        let path = Path::new(name);
        match std::fs::read_to_string(path) {
            Ok(jinja) => Ok(Self::Jinja(Jinja::new(jinja)?)),
            Err(_) if !path.exists() => Err(ChatError::Unknown(name.to_owned())),
            Err(reason) => Err(ChatError::Io {
                path: path.to_owned(),
                reason,
            }),
        }
    }

    /// The tokens of a conversation, from the beginning of the sequence to where the answer begins.
    ///
    /// The last message is the user's or a tool's; it may be the system's. Neighbouring messages of one role
    /// become one, as in mistral-common.
    ///
    /// # Errors
    /// When the format does not allow the messages, when the vocabulary has no token that the format needs, and
    /// when a Jinja template refuses or fails.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        tools: &[Tool],
    ) -> Result<Vec<u32>, ChatError> {
        match self {
            Self::Mistral(version) => version.encode(tokenizer, messages, tools),
            Self::Jinja(jinja) => jinja.encode(tokenizer, messages, tools),
        }
    }

    /// The message that the tokens of an answer make, up to the end of the sequence: its text and, after each
    /// `[TOOL_CALLS]` token, calls of tools. Calls without an id get one.
    ///
    /// # Errors
    /// When a call is malformed.
    pub fn parse_answer(&self, tokenizer: &Tokenizer, ids: &[u32]) -> Result<Message, ChatError> {
        let version = match self {
            Self::Mistral(version) => Some(*version),
            Self::Jinja(_) => None,
        };
        answer::parse(version, tokenizer, ids)
    }

    /// The token after which an answer calls tools; what follows is not for the user's eyes.
    pub fn tool_calls_token(&self, tokenizer: &Tokenizer) -> Option<u32> {
        match self {
            Self::Mistral(Version::V1) => None,
            _ => version::control_token(tokenizer, "[TOOL_CALLS]"),
        }
    }

    /// What to call it: `v3`, or `jinja`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mistral(version) => version.name(),
            Self::Jinja(_) => "jinja",
        }
    }
}
