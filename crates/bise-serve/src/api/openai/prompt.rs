//! Texts as requests have them: as text or tokens, one or many.

use super::number::{Whole, unexpected};
use crate::served::Served;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Texts at most.
pub const MOST: usize = 2048;

/// A token's number.
type Id = Whole<0, { u32::MAX as i64 }>;

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// As it is.
    Text(String),
    /// As tokens.
    Tokens(Vec<u32>),
}

/// Texts: a text or a list of its tokens, or a list of such, at most [`MOST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts(pub Vec<Prompt>);

impl Prompt {
    /// The text that tokens stand for.
    pub fn text(&self, served: &Served) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Tokens(ids) => served.tokenizer.decode(ids),
        }
    }
}

const EXPECTED: &str =
    "expected a text, a list of texts, a list of a text's tokens, or a list of such lists";

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        read(&written).map_err(D::Error::custom)
    }
}

/// What the first character of a list's items says, all of them are.
fn read(written: &RawValue) -> Result<Prompts, serde_json::Error> {
    let wrong = || unexpected(written, EXPECTED);
    let text = written.get();
    if text.starts_with('"') {
        return Ok(Prompts(vec![Prompt::Text(serde_json::from_str(text)?)]));
    }
    let list = text.strip_prefix('[').ok_or_else(wrong)?;
    let prompts: Vec<Prompt> = match list.trim_start().chars().next() {
        Some('"') => {
            let texts: Vec<String> = serde_json::from_str(text)?;
            texts.into_iter().map(Prompt::Text).collect()
        }
        Some('[') => {
            let lists: Vec<Vec<Id>> = serde_json::from_str(text)?;
            lists.iter().map(|list| tokens(list)).collect()
        }
        Some('-' | '0'..='9') => {
            let list: Vec<Id> = serde_json::from_str(text)?;
            vec![tokens(&list)]
        }
        _ => return Err(wrong()),
    };
    match prompts.len() {
        0..=MOST => Ok(Prompts(prompts)),
        found => Err(serde_json::Error::custom(format!(
            "found {found} texts, expected at most {MOST}"
        ))),
    }
}

fn tokens(list: &[Id]) -> Prompt {
    Prompt::Tokens(list.iter().map(|id| id.0 as u32).collect())
}

impl PartialSchema for Prompts {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let list = || ArrayBuilder::new().min_items(Some(1));
        let many = || list().max_items(Some(MOST));
        OneOfBuilder::new()
            .item(text())
            .item(many().items(text()))
            .item(list().items(Id::schema()))
            .item(many().items(list().items(Id::schema())))
            .into()
    }
}

impl ToSchema for Prompts {
    fn name() -> Cow<'static, str> {
        "openai.Prompts".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_in_four_forms() {
        let read = |text| serde_json::from_str::<Prompts>(text);
        let text = |text: &str| Prompt::Text(text.to_owned());
        for (json, expected) in [
            ("\"a\"", vec![text("a")]),
            ("[ \"a\", \"\"]", vec![text("a"), text("")]),
            ("[1, 2]", vec![Prompt::Tokens(vec![1, 2])]),
            ("[[1], []]", vec![Prompt::Tokens(vec![1]), Prompt::Tokens(vec![])]),
        ] {
            assert_eq!(read(json).unwrap(), Prompts(expected), "{json}");
        }
        for json in [
            "[]",
            "1",
            "{}",
            "true",
            "[1, \"a\"]",
            "[\"a\", 1]",
            "[[1], 2]",
            "[-1]",
            "[1.5]",
            "[null]",
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains("expected"), "{json}: {error}");
        }
        let error = read("[1, 4294967296]").unwrap_err().to_string();
        assert!(error.contains("found 4294967296"), "{error}");
    }
}
