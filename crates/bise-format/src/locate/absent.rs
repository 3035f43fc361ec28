//! Paths at which nothing is.

use super::evidence::UNFINISHED;
use super::folder::snapshot;
use crate::error::OpenError;
use std::path::{Path, PathBuf};

/// Why nothing is at `src`, and what may be meant.
pub(super) fn error(src: &Path) -> OpenError {
    let text = src.display().to_string();
    let say = |problem: &str, cure: String| OpenError::misplaced(src, problem, cure);
    if let Ok(to) = std::fs::read_link(src) {
        let problem = format!("a link to {}, which is missing", to.display());
        return say(&problem, "download the file again".to_owned());
    }
    if text.starts_with('~') {
        return say(
            "no such file or folder: ~ was not replaced",
            "write $HOME instead, without single quotes".to_owned(),
        );
    }
    if text.contains("://") || text.starts_with("hf.co/") || text.starts_with("huggingface.co/") {
        let cure = "download it (curl -LO URL, bise pull ORG/NAME), and give the file or folder";
        return say("an address; bise reads models from disk", cure.to_owned());
    }
    let begun = UNFINISHED.iter().map(|end| PathBuf::from(format!("{text}{end}")));
    if let Some(part) = begun.into_iter().find(|path| path.exists()) {
        let problem = format!(
            "the file is missing: its download is incomplete, {} is there",
            part.display()
        );
        return say(
            &problem,
            "let the command that downloads it go on to the end".to_owned(),
        );
    }
    if let Some(near) = neighbour(src) {
        return say(
            "no such file or folder",
            format!("did you mean {}?", near.display()),
        );
    }
    match repository(&text) {
        Some(name) => match cached(name) {
            Some(path) => say("no such file or folder", format!("Hugging Face's cache has it: give {}", path.display())),
            None => {
                let cure = format!("get it first, with: bise pull {name}");
                say("no such file or folder; bise reads models from disk", cure)
            }
        },
        None if is_prose(&text) => say(
            "no such file or folder; the first argument names the model",
            "a text stands behind the model, or alone after -p".to_owned(),
        ),
        None if is_bare(&text) => say(
            "no such file or folder; bise reads models from disk, and knows none by name",
            "get one first, as with: bise pull ORG/NAME, and give that name, the folder or the GGUF file".to_owned(),
        ),
        None => {
            let parents = src.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
            let there = parents.into_iter().find(|parent| parent.exists());
            let there = there.map_or(".".to_owned(), |path| path.display().to_string());
            say("no such file or folder", format!("see what there is, with: ls {there}"))
        }
    }
}

/// What lies beside it and has nearly this name, or this name with an ending.
fn neighbour(src: &Path) -> Option<PathBuf> {
    let name = src.file_name()?.to_str()?.to_lowercase();
    let parent = match src.parent()? {
        parent if parent.as_os_str().is_empty() => Path::new("."),
        parent => parent,
    };
    let entries = std::fs::read_dir(parent).ok()?.take(10_000).flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let distance = |other: &str| {
        let other = other.to_lowercase();
        let ended = other
            .strip_prefix(&name)
            .is_some_and(|end| [".gguf", ".bin"].contains(&end));
        if ended {
            0
        } else {
            strsim::damerau_levenshtein(&name, &other)
        }
    };
    let (near, name) = names.map(|name| (distance(&name), name)).min()?;
    (near <= 1 + src.file_name()?.len() / 6).then(|| src.with_file_name(name))
}

/// `ORG/NAME`, as repositories are called, without what follows it.
fn repository(text: &str) -> Option<&str> {
    let name = text.split_once(':').map_or(text, |(name, _)| name);
    let (org, rest) = name.split_once('/')?;
    let fits = |part: &str| {
        let first = part.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        first
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let is_file = [".gguf", ".safetensors", ".bin"]
        .iter()
        .any(|end| rest.ends_with(end));
    (fits(org) && fits(rest) && !is_file && !Path::new(org).exists()).then_some(name)
}

fn is_bare(text: &str) -> bool {
    !text.contains(['/', '\\', '.']) && !text.is_empty()
}

/// Where Hugging Face's cache has the repository, if it does.
fn cached(name: &str) -> Option<PathBuf> {
    let from = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let home = || Some(std::env::home_dir()?.join(".cache/huggingface"));
    let hub = from("HF_HUB_CACHE").or_else(|| Some(from("HF_HOME").or_else(home)?.join("hub")))?;
    snapshot(&hub.join(format!("models--{}", name.replace('/', "--"))))
}

/// Whether it looks like a text that was meant for a model.
fn is_prose(text: &str) -> bool {
    text.contains(char::is_whitespace) && !text.contains(['/', '\\'])
}
