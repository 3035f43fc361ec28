//! What can be wrong with a conversation or a template.

use std::io;
use std::path::PathBuf;

use super::Version;

/// Why a conversation cannot be encoded, or an answer not understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    #[error("`{name}` is neither a chat format ({versions}, gguf{named}) nor a file", versions = Version::names())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The file's named templates, each after a comma.
        named: String,
    },
    /// The file's templates have names of which none is for every conversation.
    #[error(
        "the model's file has several chat templates and none by default: --template NAME takes one of {0}"
    )]
    NoDefault(String),
    /// `gguf` was asked for, and the file has no template.
    #[error("the model's file has no chat template (metadata `tokenizer.chat_template`)")]
    NoTemplate,
    /// A template's file cannot be read.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A Jinja template is wrong.
    #[error("chat template {template}{at}: {what}; --template takes another one")]
    Jinja {
        /// Its name, or file.
        template: String,
        /// The line, and the expression there.
        at: String,
        /// What is wrong.
        what: String,
    },
    /// A Jinja template refuses the conversation.
    #[error(
        "the chat template ({template}{at}) refuses the conversation: {what}; --template takes another one"
    )]
    Refused {
        /// Its name, or file.
        template: String,
        /// The line, and the expression there.
        at: String,
        /// Why.
        what: String,
    },
    /// The conversation asks for an effort that the format or the model does not know.
    #[error("reasoning effort {asked:?}: {what}")]
    Effort {
        /// What is asked for.
        asked: String,
        /// Why not.
        what: String,
    },
    /// The model's call of a tool is malformed.
    #[error("the model's tool call cannot be read: {what}: {text:?}")]
    Answer {
        /// What is wrong.
        what: &'static str,
        /// The text of the call.
        text: String,
    },
}
