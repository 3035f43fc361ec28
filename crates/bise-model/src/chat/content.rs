//! What a message says: texts and thoughts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

/// What joins texts that become one.
pub(super) const JOINT: &str = "\n\n";

/// A part of what a message says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Part {
    /// Said to the other side.
    Text {
        /// The text.
        text: String,
    },
    /// Thought before it was said: `[THINK]..[/THINK]`.
    Thinking {
        /// The thought.
        thinking: String,
        /// Whether the thought came to its end.
        #[serde(default = "closed")]
        closed: bool,
    },
}

fn closed() -> bool {
    true
}

/// What a message says: a text, or texts and thoughts in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct Content(Vec<Part>);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, or a list of parts {\"type\": \"text\", \"text\": ..} and {\"type\": \"thinking\", \
                 \"thinking\": ..}"
)]
enum Wire {
    Text(String),
    Parts(Vec<Part>),
}

impl From<Wire> for Content {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Text(text) => text.into(),
            Wire::Parts(parts) => Self(parts),
        }
    }
}

impl From<Vec<Part>> for Content {
    fn from(parts: Vec<Part>) -> Self {
        Self(parts)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        match text.is_empty() {
            true => Self::default(),
            false => Self(vec![Part::Text { text }]),
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Content {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<Cow<'_, str>> for Content {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl Content {
    /// In order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether nothing is said nor thought.
    pub fn is_empty(&self) -> bool {
        !self.has_thoughts() && self.texts().all(str::is_empty)
    }

    /// Whether there are thoughts among what is said.
    pub fn has_thoughts(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Thinking { .. }))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            Part::Thinking { .. } => None,
        })
    }

    /// What is said, without the thoughts; an empty line joins several texts.
    pub fn text(&self) -> Cow<'_, str> {
        join(self.texts())
    }

    /// The thoughts, which an empty line joins; `None` without any.
    pub fn thoughts(&self) -> Option<Cow<'_, str>> {
        let thoughts = self.0.iter().filter_map(|part| match part {
            Part::Thinking { thinking, .. } => Some(thinking.as_str()),
            Part::Text { .. } => None,
        });
        self.has_thoughts().then(|| join(thoughts))
    }

    /// As requests to models have it: a text, or a list of parts where there are thoughts.
    pub fn to_json(&self) -> Value {
        let part = |part: &Part| match part {
            Part::Text { text } => json!({ "type": "text", "text": text }),
            Part::Thinking { thinking, closed } => {
                json!({ "type": "thinking", "thinking": thinking, "closed": closed })
            }
        };
        match self.has_thoughts() {
            true => self.0.iter().map(part).collect(),
            false => self.text().into(),
        }
    }

    /// What several messages say, as one: texts that meet become one, joined by an empty line or,
    /// within a message, by `joint`.
    pub(super) fn join(contents: &[&Content], joint: &str) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for content in contents {
            let mut first = true;
            for part in &content.0 {
                match (part, parts.last_mut()) {
                    (Part::Text { text }, _) if text.is_empty() => continue,
                    (Part::Text { text: more }, Some(Part::Text { text })) => {
                        text.push_str(if first { JOINT } else { joint });
                        text.push_str(more);
                    }
                    _ => parts.push(part.clone()),
                }
                first = false;
            }
        }
        Self(parts)
    }
}

fn join<'a>(texts: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    match texts.as_slice() {
        [] => Cow::Borrowed(""),
        [one] => Cow::Borrowed(one),
        several => several.join(JOINT).into(),
    }
}
