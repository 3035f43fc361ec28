//! What messages consist of.

use crate::api::openai::number::shown;
use crate::api::text_or::TextOr;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A part of a message.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = anthropic::Block)]
#[serde(tag = "type", rename_all = "snake_case", try_from = "Wire")]
pub enum Block {
    /// What is said.
    Text {
        /// The text.
        text: String,
    },
    /// What was thought before it was said.
    Thinking {
        /// The thought; none where it was taken out.
        thinking: String,
    },
    /// A call of a tool, in an answer.
    ToolUse {
        /// Ties the result to the call.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        #[schema(value_type = Object)]
        input: Box<RawValue>,
    },
    /// What a tool gave back.
    ToolResult {
        /// The call.
        tool_use_id: String,
        /// A text, or parts of it.
        content: Option<TextOr<Said>>,
        /// Whether the tool failed.
        is_error: Option<bool>,
    },
}

/// A text.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = anthropic::Text)]
#[serde(tag = "type", rename_all = "snake_case", try_from = "Wire")]
pub enum Said {
    /// What is said.
    Text {
        /// The text.
        text: String,
    },
}

impl TextOr<Said> {
    /// All of it; an empty line joins several texts.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(parts) => {
                let texts: Vec<&str> = parts.iter().map(|Said::Text { text }| &**text).collect();
                texts.join("\n\n")
            }
        }
    }
}

/// A part as it is written, of whatever type.
#[derive(Deserialize)]
struct Wire {
    r#type: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Box<RawValue>>,
    tool_use_id: Option<String>,
    content: Option<TextOr<Said>>,
    is_error: Option<bool>,
}

impl TryFrom<Wire> for Block {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let kind = wire.r#type.as_str();
        let missing = |field: &str| format!("found a part of type {kind} without `{field}`");
        Ok(match kind {
            "text" => Self::Text {
                text: wire.text.ok_or_else(|| missing("text"))?,
            },
            "thinking" => Self::Thinking {
                thinking: wire.thinking.ok_or_else(|| missing("thinking"))?,
            },
            "redacted_thinking" => Self::Thinking {
                thinking: String::new(),
            },
            "tool_use" => {
                let input = wire.input.ok_or_else(|| missing("input"))?;
                if !input.get().starts_with('{') {
                    let found = shown(input.get());
                    return Err(format!("input: found {found}, expected an object"));
                }
                Self::ToolUse {
                    id: wire.id.ok_or_else(|| missing("id"))?,
                    name: wire.name.ok_or_else(|| missing("name"))?,
                    input,
                }
            }
            "tool_result" => Self::ToolResult {
                tool_use_id: wire.tool_use_id.ok_or_else(|| missing("tool_use_id"))?,
                content: wire.content,
                is_error: wire.is_error,
            },
            _ => return Err(unknown(kind, "text, thinking, tool_use or tool_result")),
        })
    }
}

impl TryFrom<Wire> for Said {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        match (wire.r#type.as_str(), wire.text) {
            ("text", Some(text)) => Ok(Self::Text { text }),
            ("text", None) => Err("found a part of type text without `text`".to_owned()),
            (other, _) => Err(unknown(other, "text")),
        }
    }
}

fn unknown(kind: &str, expected: &str) -> String {
    let kind = shown(kind);
    format!("found a part of type {kind:?}; this model reads text alone, expected {expected}")
}
