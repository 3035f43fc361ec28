//! Rust sources as text: where they are, and their code without comments, literals and unit tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders `src` of the workspace's crates, tools and bindings.
pub fn crates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "tools", "bindings"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let src = entry.unwrap().path().join("src");
            if src.is_dir() {
                found.push(src);
            }
        }
    }
    found.sort();
    found
}

/// The sources below `folder`, by their paths.
pub fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A path as it reads from the workspace's folder, on every system.
pub fn name(path: &Path) -> String {
    let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
    name.replace('\\', "/")
}

/// The tokens of a source's code: words, `::`, and single characters. A literal of text or of a
/// character is one `"`. What stands under `#[cfg(test)]` is left out.
pub fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let word = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").unwrap() + 2;
        } else if let Some(length) = literal(rest) {
            tokens.push("\"");
            at += length;
        } else if word > 0 {
            tokens.push(&rest[..word]);
            at += word;
        } else if rest.starts_with("::") {
            tokens.push("::");
            at += 2;
        } else {
            if !bytes[at].is_ascii_whitespace() {
                tokens.push(&rest[..1]);
            }
            at += 1;
        }
    }
    without_tests(&tokens)
}

/// The length of the literal of text, or of a character, that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            rest.starts_with(['"', '\'']) || prefix.ends_with('r') && rest.starts_with("#")
        })
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let marks = rest.bytes().take_while(|byte| *byte == b'#').count();
        let body = rest[marks..].strip_prefix('"')?; // else a raw identifier
        let end = format!("\"{}", "#".repeat(marks));
        return Some(prefix.len() + marks + 1 + body.find(&end)? + end.len());
    }
    let quote = rest.as_bytes()[0];
    let mut characters = rest.char_indices().skip(1);
    if quote == b'\'' && !rest.starts_with("'\\") && rest.chars().nth(2) != Some('\'') {
        return None; // a lifetime
    }
    while let Some((place, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character as u32 == u32::from(quote) {
            return Some(prefix.len() + place + 1);
        }
    }
    None
}

/// `tokens` without the items under `#[cfg(test)]`.
fn without_tests<'t>(tokens: &[&'t str]) -> Vec<&'t str> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            let item = &tokens[at..];
            let end = item.iter().position(|token| matches!(*token, ";" | "{")).unwrap();
            at += if item[end] == "{" {
                end + group(&item[end..])
            } else {
                end + 1
            };
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// How many tokens the group in braces takes that `tokens` begin with.
pub fn group(tokens: &[&str]) -> usize {
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n + 1;
        }
    }
    tokens.len()
}
