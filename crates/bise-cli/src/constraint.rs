//! What the text must follow: options of every command that generates text.

use crate::runtime;
use anyhow::{Context as _, Result};
use bise_model::constraint::{Constraint, Grammar, TokenTable};
use bise_model::tokenizer::Tokenizer;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A grammar for the text, of which there can be one.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Constraints")]
#[group(multiple = false)]
pub struct Constraints {
    /// The text is a JSON object
    #[arg(long)]
    json_mode: bool,
    /// The text is JSON that this schema describes: a file, or the schema itself, {"type": ...}
    #[arg(
        short = 'j',
        long,
        visible_alias = "json-schema-file",
        value_name = "FILE|JSON"
    )]
    json_schema: Option<PathBuf>,
    /// The whole text matches this regular expression
    #[arg(long, value_name = "RE")]
    regex: Option<String>,
    /// The text follows this grammar, a file or the grammar itself: Lark, beginning with the rule
    /// start, or GBNF, beginning with root
    #[arg(long, visible_alias = "grammar-file", value_name = "FILE|TEXT")]
    grammar: Option<PathBuf>,
}

/// A grammar, and where it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub grammar: Grammar,
    /// The option or the file.
    pub name: String,
}

impl Constraints {
    /// Whether there is one.
    pub fn any(&self) -> bool {
        self.json_mode
            || self.json_schema.is_some()
            || self.regex.is_some()
            || self.grammar.is_some()
    }

    /// The file that the grammar is in.
    pub fn file(&self) -> Option<&Path> {
        self.json_schema.as_deref().or(self.grammar.as_deref())
    }

    /// The grammar that is asked for, if any.
    pub fn asked(&self) -> Result<Option<Asked>> {
        let (grammar, name) = match self {
            Self {
                json_mode: true, ..
            } => (Grammar::JsonObject, "--json-mode".to_owned()),
            Self {
                json_schema: Some(path),
                ..
            } => {
                let (schema, name) =
                    inline(path, "--json-schema", |text| text.trim_start().starts_with('{'))?;
                (Grammar::JsonSchema(schema), name)
            }
            Self {
                regex: Some(regex), ..
            } => (Grammar::Regex(regex.clone()), "--regex".to_owned()),
            Self {
                grammar: Some(path),
                ..
            } => {
                let is_grammar = |text: &str| {
                    text.contains("::=") || text.contains(':') && text.contains(['\n', '"', '/'])
                };
                let (grammar, name) = inline(path, "--grammar", is_grammar)?;
                (Grammar::from_text(&grammar), name)
            }
            _ => return Ok(None),
        };
        Ok(Some(Asked { grammar, name }))
    }
}

impl Asked {
    /// A constraint for a text that has not begun.
    pub fn constraint(&self, table: &TokenTable) -> Result<Constraint> {
        Constraint::new(table, &self.grammar).with_context(|| self.name.clone())
    }
}

/// The tokens of texts, which takes a while to make: for as many constraints as wanted.
#[derive(Default)]
pub struct Table(Option<TokenTable>);

impl Table {
    /// The table of `tokenizer`'s vocabulary.
    pub fn of(&mut self, tokenizer: &Tokenizer) -> Result<&TokenTable> {
        if self.0.is_none() {
            self.0 = Some(TokenTable::new(tokenizer)?);
        }
        Ok(self.0.as_ref().expect("just made"))
    }
}

/// The text in the file `given`, or `given` itself where there is no such file and it looks like
/// what it should be; and what to call it.
fn inline(
    given: &PathBuf,
    option: &str,
    looks_right: impl Fn(&str) -> bool,
) -> Result<(String, String)> {
    match given.to_str() {
        Some(text) if looks_right(text) && !given.exists() => {
            Ok((text.to_owned(), option.to_owned()))
        }
        _ => Ok((read(given)?, given.display().to_string())),
    }
}

fn read(path: &PathBuf) -> Result<String> {
    let bytes = runtime::read(path)?;
    String::from_utf8(bytes).with_context(|| path.display().to_string())
}
