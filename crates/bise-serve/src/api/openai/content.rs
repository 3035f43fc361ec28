//! What a message says: a text, or a list of parts.

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// A text, or a list of parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::Content)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts, in order.
    Parts(Vec<Part>),
}

/// A part of what a message says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = openai::Part)]
#[serde(tag = "type", rename_all = "lowercase", try_from = "WirePart")]
pub enum Part {
    /// Said to the other side.
    Text {
        /// The text.
        text: String,
    },
    /// Thought before it was said.
    Thinking {
        /// The thought.
        thinking: String,
        /// Whether it came to its end; it did where nothing is said.
        #[schema(required = false)]
        closed: bool,
    },
}

impl Content {
    /// The text, without thoughts.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().filter_map(Part::text).collect(),
        }
    }

    /// The same behind a thought.
    #[must_use]
    pub fn after(self, thinking: String) -> Self {
        let closed = true;
        let mut parts = vec![Part::Thinking { thinking, closed }];
        match self {
            Self::Text(text) if text.is_empty() => {}
            Self::Text(text) => parts.push(Part::Text { text }),
            Self::Parts(more) => parts.extend(more),
        }
        Self::Parts(parts)
    }

    /// The same as one text where it has no thoughts; an empty line joins several.
    #[must_use]
    pub fn joined(self) -> Self {
        let Self::Parts(parts) = &self else {
            return self;
        };
        let texts: Vec<&str> = parts.iter().filter_map(Part::text).collect();
        match texts.len() == parts.len() {
            true => Self::Text(texts.join("\n\n")),
            false => self,
        }
    }
}

impl Part {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } => Some(text),
            Self::Thinking { .. } => None,
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of parts {\"type\": \"text\", \"text\": ..}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        // Templates that know no parts can read a single one.
        Ok(match &mut parts[..] {
            [] => Content::Text(String::new()),
            [Part::Text { text }] => Content::Text(std::mem::take(text)),
            _ => Content::Parts(parts),
        })
    }
}

#[derive(Deserialize)]
struct WirePart {
    r#type: String,
    text: Option<String>,
    thinking: Option<Thought>,
    closed: Option<bool>,
}

/// As it is here, or as Mistral's interface has it.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, or a list of parts {\"type\": \"text\", \"text\": ..}"
)]
enum Thought {
    Text(String),
    Texts(Vec<Said>),
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

impl TryFrom<WirePart> for Part {
    type Error = String;

    fn try_from(part: WirePart) -> Result<Self, String> {
        match (part.r#type.as_str(), part.text, part.thinking) {
            ("text", Some(text), _) => Ok(Self::Text { text }),
            ("thinking", _, Some(thought)) => Ok(Self::Thinking {
                thinking: match thought {
                    Thought::Text(text) => text,
                    Thought::Texts(texts) => texts.into_iter().map(|said| said.text).collect(),
                },
                closed: part.closed.unwrap_or(true),
            }),
            ("text" | "thinking", ..) => {
                let kind = part.r#type;
                Err(format!("found a part of type {kind} without a `{kind}`"))
            }
            (other, ..) => Err(format!(
                "found a part of type {other:?}; this model reads text alone, expected parts of \
                 type \"text\""
            )),
        }
    }
}
