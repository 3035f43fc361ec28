//! Texts that end an answer: one, or a list.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Texts at most, and characters of each: all are compared with the answer as it comes.
const MOST: usize = 16;
const LONGEST: usize = 1000;

/// Texts that end an answer. An empty one ends nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops(pub Vec<String>);

impl<'de> Deserialize<'de> for Stops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Stops;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a text of at most {LONGEST} characters, or a list of at most {MOST} of them"
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Stops, E> {
        Ok(Stops(vec![checked(text.to_owned())?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Stops, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            if texts.len() == MOST {
                let what = format!("found more than {MOST} texts, expected at most {MOST}");
                return Err(A::Error::custom(what));
            }
            texts.push(checked(text)?);
        }
        Ok(Stops(texts))
    }
}

fn checked<E: Error>(text: String) -> Result<String, E> {
    match text.chars().count() {
        0..=LONGEST => Ok(text),
        found => Err(E::custom(format!(
            "found a text of {found} characters, expected at most {LONGEST}"
        ))),
    }
}

impl PartialSchema for Stops {
    fn schema() -> RefOr<Schema> {
        let text = || {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .max_length(Some(LONGEST))
        };
        let list = ArrayBuilder::new().items(text()).max_items(Some(MOST));
        OneOfBuilder::new().item(text()).item(list).into()
    }
}

impl ToSchema for Stops {}
