//! What a text may be told to follow.

use serde::{Deserialize, Serialize};

/// What a text must follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grammar {
    /// One JSON object of any kind. White space in JSON is a space or a line with its indentation,
    /// and a key comes once.
    JsonObject,
    /// JSON that this schema describes (JSON Schema 2020-12 and older drafts); keywords that cannot
    /// be followed are refused.
    JsonSchema(String),
    /// A regular expression in the syntax of the `regex` crate, for the whole text.
    Regex(String),
    /// A grammar in llguidance's variant of Lark's syntax, whose first rule is `start`.
    Lark(String),
    /// A grammar in the syntax of llama.cpp's GBNF, whose first rule is `root`.
    Gbnf(String),
}

impl Grammar {
    /// Whether texts are JSON.
    pub(super) fn is_json(&self) -> bool {
        matches!(self, Self::JsonObject | Self::JsonSchema(_))
    }

    /// A grammar of which nobody says whether it is Lark or GBNF: only the latter defines rules
    /// with `::=`.
    pub fn from_text(text: &str) -> Self {
        // A rule's definition stands outside of quotes and comments in the first line that has
        // anything to say.
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with(['#', '/', '%']));
        let first = lines
            .map(|line| {
                line.find("::=")
                    .is_some_and(|at| line[..at].trim_end().chars().all(is_name))
            })
            .next();
        match first {
            Some(true) => Self::Gbnf(text.to_owned()),
            _ => Self::Lark(text.to_owned()),
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}
