//! Conversations in files: the JSON that chat programs and servers exchange.
//!
//! ```json
//! {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}, ...]}
//! ```

use super::dialogue::Dialogue;
use anyhow::{Context as _, Result, anyhow};
use bise_model::chat::{Conversation, Message};
use bise_tensor::atomic::write_atomic;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;

/// What was said.
pub fn messages(dialogue: &Dialogue<'_>) -> Value {
    let system = Some(Message::system(&dialogue.system)).filter(|_| !dialogue.system.is_empty());
    let messages = system.iter().chain(&dialogue.messages);
    messages
        .map(|message| json!({ "role": message.role(), "content": message.text() }))
        .collect()
}

/// Writes what was said.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, dialogue: &Dialogue<'_>) -> Result<()> {
    let text = serde_json::to_string_pretty(&json!({ "messages": messages(dialogue) }))?;
    let written: io::Result<()> = write_atomic(file, |out| writeln!(out, "{text}"));
    written.map_err(|error| anyhow!("cannot write {}: {error}", file.display()))
}

/// Reads a conversation.
///
/// # Errors
/// When the file cannot be read or is none.
pub fn read(file: &Path) -> Result<Conversation> {
    let text = std::fs::read_to_string(file).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    Conversation::from_json(&text).with_context(|| format!("{} is no conversation", file.display()))
}

/// The system text, and the other messages.
pub fn split(messages: Vec<Message>) -> (String, Vec<Message>) {
    let (system, others): (Vec<_>, Vec<_>) = messages
        .into_iter()
        .partition(|message| matches!(message, Message::System { .. }));
    let texts: Vec<&str> = system.iter().map(Message::text).collect();
    (texts.join("\n\n"), others)
}
