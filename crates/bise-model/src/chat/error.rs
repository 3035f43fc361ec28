//! What can be wrong with a conversation or a template.

use std::io;
use std::path::PathBuf;

use super::Version;

/// Why a conversation cannot be encoded, or an answer not understood.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// There are no messages.
    #[error("a conversation needs at least one message")]
    Empty,
    /// A message that the format does not allow, alone or at its place.
    #[error("message {number} ({role}): {what}")]
    Message {
        /// The message, counted from 1.
        number: usize,
        /// Its role.
        role: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A tool that cannot be offered.
    #[error("tool {number} ({name:?}): {what}")]
    Tool {
        /// The tool, counted from 1.
        number: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The vocabulary is of another version.
    #[error("the vocabulary has no control token {piece:?}, which chats in format {version} need")]
    Token {
        /// The format.
        version: Version,
        /// The token's text.
        piece: &'static str,
    },
    /// No such format.
    #[error("`{0}` is neither a chat format (v1, v2, v3, v7, v11, v13, gguf) nor a file")]
    Unknown(String),
    /// `gguf` was asked for, and the file has no template.
    #[error("the model's file has no chat template (metadata `tokenizer.chat_template`)")]
    NoTemplate,
    /// A template's file cannot be read.
    #[error("{}: {reason}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// A Jinja template is wrong, or refuses the conversation.
    #[error("chat template: {0}")]
    Jinja(String),
    /// The model's call of a tool is malformed.
    #[error("the model's tool call cannot be read: {what}: {text:?}")]
    Answer {
        /// What is wrong.
        what: &'static str,
        /// The text of the call.
        text: String,
    },
}
