//! MODEL, which may be a path, a name on a hub, or a name of ollama's.

use super::{looker, made};
use crate::messages::{is_hosted, note};
use anyhow::{Context as _, Result, bail};
use bise_hub::{Hub, Name, ollama};
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Where the model is that `given` names. What is on no disk is got, if the person at the terminal
/// says so.
///
/// # Errors
/// When it is a name, and not on disk; the command that gets it is said then.
pub fn located(given: &Path) -> Result<Cow<'_, Path>> {
    let text = given.to_string_lossy();
    if given.exists() {
        return Ok(Cow::Borrowed(given));
    }
    if let Some(name) = text.strip_prefix("ollama:") {
        let found = ollama(name).with_context(|| {
            format!("{text}: ollama has no such model on disk, in one file\nollama list shows its models, and ollama pull gets one")
        })?;
        return Ok(Cow::Owned(found));
    }
    let Some(name) = hub_name(&text) else {
        return Ok(Cow::Borrowed(given));
    };
    let hub = Hub::from_env()?;
    if let Some(path) = hub.cache().find(&name) {
        return Ok(Cow::Owned(path));
    }
    if let Some(path) = name.part.as_ref().and_then(|word| made::find(&name, word)) {
        return Ok(Cow::Owned(path));
    }
    if !ask(&name)? {
        bail!("{name} is not on disk\nget it with: bise pull {name}");
    }
    Ok(Cow::Owned(looker::get(&hub, &name)?.path))
}

/// The name on a hub that a text is, unless it looks like a path.
fn hub_name(text: &str) -> Option<Name> {
    let name = Name::parse(text).ok()?;
    let is_file = [".gguf", ".safetensors", ".bin"]
        .iter()
        .any(|end| name.name.ends_with(end));
    (!is_file && !Path::new(&name.owner).exists()).then_some(name)
}

/// Whether the person at the terminal wants the model; false when there is nobody.
fn ask(name: &Name) -> Result<bool> {
    if is_hosted() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    note(format_args!("{name} is not on disk"));
    eprint!("Get it from the hub? [Y/n] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["", "y", "yes"].contains(&answer.trim().to_lowercase().as_str()) && !answer.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_no_names() {
        for path in [
            "model.gguf",
            "models/a.gguf",
            "./a/b",
            "/a/b",
            "src/main.rs",
            "a/b/c",
            "~/a",
        ] {
            assert_eq!(hub_name(path), None, "{path}");
        }
        for name in ["mistralai/Mistral-7B-v0.1", "org/model:Q4_K_M", "hf.co/org/model"] {
            assert!(hub_name(name).is_some(), "{name}");
        }
    }
}
