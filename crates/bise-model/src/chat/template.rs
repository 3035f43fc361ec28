//! How conversations become tokens.

use std::path::Path;

use bise_format::gguf::Metadata;

use super::conversation::Conversation;
use super::error::ChatError;
use super::jinja::Jinja;
use super::message::{Message, Tool};
use super::version::Version;
use super::{answer, encoder, settings};
use crate::tokenizer::Tokenizer;

/// How conversations become tokens.
#[derive(Debug, Clone)]
pub enum Template {
    /// A version of Mistral's format.
    Mistral(Version),
    /// A Jinja template: the file's own, or the user's.
    Jinja(Jinja),
}

impl Template {
    /// A template by its name: a [`Version`], also written `mistral-v3` or `v3-tekken`; `gguf` for
    /// the Jinja templates in `metadata`, or the name of one of them (`default`, `tool_use`); or
    /// else the path of a Jinja file.
    ///
    /// # Errors
    /// For an unknown name, a file that cannot be read, and a Jinja template that is malformed or
    /// absent.
    pub fn from_name(name: &str, metadata: &Metadata) -> Result<Self, ChatError> {
        if let Some(version) = Version::from_name(name) {
            return Ok(Self::Mistral(version));
        }
        if name == "gguf" {
            return Jinja::of_file(metadata)?
                .map(Self::Jinja)
                .ok_or(ChatError::NoTemplate);
        }
        let path = Path::new(name);
        match std::fs::read_to_string(path) {
            Ok(jinja) => Ok(Self::Jinja(Jinja::asked(name, jinja)?)),
            Err(_) if !path.exists() => {
                let jinja = Jinja::of_file(metadata)?;
                let one = jinja.as_ref().and_then(|jinja| jinja.only(name));
                one.map(Self::Jinja).ok_or_else(|| ChatError::Unknown {
                    name: name.to_owned(),
                    named: jinja
                        .iter()
                        .flat_map(Jinja::names)
                        .map(|name| format!(", {name}"))
                        .collect(),
                })
            }
            Err(source) => Err(ChatError::Io {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The tokens of a conversation, from the beginning of the sequence to where the answer begins.
    ///
    /// The last message is the user's or a tool's; it may be the system's. Neighbouring messages of
    /// one role become one, as in mistral-common.
    ///
    /// # Errors
    /// When the format does not allow the messages, when the vocabulary has no token that the
    /// format needs, and when a Jinja template refuses or fails.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        tools: &[Tool],
    ) -> Result<Vec<u32>, ChatError> {
        self.encode_conversation(tokenizer, &Conversation::new(messages, tools))
    }

    /// As [`encode`](Self::encode); a Jinja template sees all that was read of the conversation.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_conversation(
        &self,
        tokenizer: &Tokenizer,
        conversation: &Conversation,
    ) -> Result<Vec<u32>, ChatError> {
        match self {
            Self::Mistral(version) => {
                let effort = conversation.reasoning_effort();
                version.encode(tokenizer, conversation.messages(), conversation.tools(), effort)
            }
            Self::Jinja(jinja) => {
                settings::check_template(jinja, conversation)?;
                jinja.encode(tokenizer, conversation)
            }
        }
    }

    /// The message that the tokens of an answer make, up to the end of the sequence: its text and
    /// thoughts and, after each `[TOOL_CALLS]` token, calls of tools. Calls without an id get one.
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
            _ => encoder::control_token(tokenizer, "[TOOL_CALLS]"),
        }
    }

    /// What to call it: `v3`, or `jinja`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mistral(version) => version.name(),
            Self::Jinja(_) => "jinja",
        }
    }

    /// What to tell of it: `v3`, or `Jinja (default, tool_use)`.
    pub fn describe(&self) -> String {
        match self {
            Self::Mistral(version) => version.name().to_owned(),
            Self::Jinja(jinja) => {
                format!("Jinja ({})", jinja.names().collect::<Vec<_>>().join(", "))
            }
        }
    }
}
