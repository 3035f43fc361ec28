//! Conversations in files: the JSON that chat programs and servers exchange.
//!
//! ```json
//! {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}, ...]}
//! ```

use super::dialogue::Dialogue;
use crate::session::sole;
use anyhow::{Context as _, Result, anyhow, bail};
use bise_format::atomic::claim;
use bise_model::chat::{Conversation, Message};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What was said, after the `system` text.
pub fn messages(system: &str, messages: &[Message]) -> Value {
    let system = Some(Message::system(system)).filter(|_| !system.is_empty());
    let messages = system.iter().chain(messages);
    messages.map(Message::to_json).collect()
}

/// Writes what was said, also over another conversation, but over nothing else. One that was
/// `loaded` is replaced only by one that begins with it.
///
/// # Errors
/// When the file is one of `inputs`, is there and no conversation, or cannot be written.
pub fn write(
    file: &Path,
    dialogue: &Dialogue<'_>,
    inputs: &[&Path],
    loaded: &[PathBuf],
) -> Result<()> {
    claim(file, inputs)?;
    let sole = sole(file, "a session")?;
    let messages = messages(&dialogue.system, &dialogue.messages);
    let was_loaded = || {
        let file = fs::canonicalize(file).ok();
        loaded.iter().any(|path| fs::canonicalize(path).ok() == file)
    };
    if file.exists() {
        read(file).context("it stays as it is; save under another name")?;
        if was_loaded() && !goes_on(file, &messages)? {
            bail!(
                "{} was loaded, and this conversation does not hold all that is in it; save under another name",
                file.display()
            );
        }
    }
    let text = serde_json::to_string_pretty(&json!({ "messages": messages }))?;
    let written: io::Result<()> = sole.write(|out| writeln!(out, "{text}"));
    written.map_err(|error| anyhow!("cannot write {}: {error}", file.display()))
}

/// Whether all that `file` holds is the beginning of `messages`.
fn goes_on(file: &Path, messages: &Value) -> Result<bool> {
    let held: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    let more = held
        .as_object()
        .is_some_and(|held| held.keys().any(|key| key != "messages"));
    let held = held.get("messages").unwrap_or(&held);
    let (Some(held), Some(messages)) = (held.as_array(), messages.as_array()) else {
        return Ok(false);
    };
    Ok(!more && messages.starts_with(held))
}

/// Reads a conversation.
///
/// # Errors
/// When the file cannot be read or is none.
pub fn read(file: &Path) -> Result<Conversation> {
    let text =
        std::fs::read_to_string(file).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    Conversation::from_json(&text).with_context(|| format!("{} is no conversation", file.display()))
}

/// The system text, and the other messages. Thoughts of a system message are left out.
pub fn split(messages: Vec<Message>) -> (String, Vec<Message>) {
    let (system, others): (Vec<_>, Vec<_>) = messages
        .into_iter()
        .partition(|message| matches!(message, Message::System { .. }));
    let texts: Vec<_> = system.iter().map(Message::text).collect();
    (texts.join("\n\n"), others)
}
