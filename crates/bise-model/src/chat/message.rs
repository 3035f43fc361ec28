//! What a conversation consists of.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::content::Content;
use super::json::Json;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What the model should keep to.
    System {
        /// What it says; thoughts show how to think.
        content: Content,
    },
    /// What the user says.
    User {
        /// What it says.
        content: Content,
    },
    /// What the model answered: a text, calls of tools, or both where the version allows it.
    Assistant {
        /// Texts and thoughts, possibly none.
        content: Content,
        /// The calls, in order.
        tool_calls: Vec<ToolCall>,
        /// Whether the answer is to go on from here; only of the last message.
        prefix: bool,
    },
    /// What a tool gave back.
    Tool {
        /// The result: JSON or any text.
        content: Content,
        /// The call that it answers; versions from v3 on require it.
        call_id: Option<String>,
        /// The tool's name, which only v2 tells the model.
        name: Option<String>,
    },
}

impl Message {
    /// A system message.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::System {
            content: content.into(),
        }
    }

    /// A user's message.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::User {
            content: content.into(),
        }
    }

    /// An answer without calls.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::Assistant {
            content: content.into(),
            tool_calls: Vec::new(),
            prefix: false,
        }
    }

    /// The role's name: `system`, `user`, `assistant` or `tool`.
    pub fn role(&self) -> &'static str {
        match self {
            Self::System { .. } => "system",
            Self::User { .. } => "user",
            Self::Assistant { .. } => "assistant",
            Self::Tool { .. } => "tool",
        }
    }

    /// What it says.
    pub fn content(&self) -> &Content {
        match self {
            Self::System { content } | Self::User { content } => content,
            Self::Assistant { content, .. } | Self::Tool { content, .. } => content,
        }
    }

    /// What it says, without thoughts.
    pub fn text(&self) -> Cow<'_, str> {
        self.content().text()
    }

    /// Whether the answer is to go on from here.
    pub fn is_prefix(&self) -> bool {
        matches!(self, Self::Assistant { prefix: true, .. })
    }

    /// As [`Conversation::from_json`](super::Conversation::from_json) reads it.
    pub fn to_json(&self) -> Value {
        let mut value = json!({ "role": self.role(), "content": self.content().to_json() });
        match self {
            Self::Assistant {
                tool_calls, prefix, ..
            } => {
                if !tool_calls.is_empty() {
                    value["tool_calls"] = tool_calls.iter().map(ToolCall::to_json).collect();
                }
                if *prefix {
                    value["prefix"] = true.into();
                }
            }
            Self::Tool { call_id, name, .. } => {
                for (key, text) in [("tool_call_id", call_id), ("name", name)] {
                    if let Some(text) = text {
                        value[key] = text.as_str().into();
                    }
                }
            }
            Self::System { .. } | Self::User { .. } => {}
        }
        value
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Ties the result to the call: nine letters or digits up to v11, any text in v13.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// JSON, normally an object.
    pub arguments: String,
}

impl ToolCall {
    fn to_json(&self) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": self.id, "type": "function", "function": function })
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// What it does; may be empty.
    pub description: String,
    /// A JSON schema of the arguments: an object.
    pub parameters: Json,
}

impl Tool {
    /// As mistral-common writes it: `{"type": "function", "function": {"name": ...}}`.
    pub(super) fn to_json(&self) -> Json {
        let function = Json::object([
            ("name", self.name.as_str().into()),
            ("description", self.description.as_str().into()),
            ("parameters", self.parameters.clone()),
        ]);
        Json::object([("type", "function".into()), ("function", function)])
    }
}
