//! Conversations in the words of OpenAI's interface, which chat templates know.

use crate::fault::Fault;
use crate::served::Served;
use bise_model::chat::Conversation;
use bise_model::tokenizer::TokenKind;
use serde_json::{Map, Value, json};

/// How much a model is to think.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Think {
    /// Not at all, where the chat format has words for it.
    Off,
    /// As a model that thinks does.
    On,
    /// So much: `low`, `high`.
    Effort(String),
}

/// A conversation that is being put together.
#[derive(Debug, Default)]
pub struct Turns {
    messages: Vec<Value>,
    tools: Vec<Value>,
}

impl Turns {
    /// A system's or a user's message.
    pub fn say(&mut self, role: &str, text: &str) {
        self.messages.push(json!({"role": role, "content": text}));
    }

    /// An answer, with the calls that [`call`] makes.
    pub fn answer(&mut self, thought: &str, text: &str, calls: Vec<Value>) {
        let content = match thought {
            "" => text.into(),
            _ => json!([
                {"type": "thinking", "thinking": thought},
                {"type": "text", "text": text},
            ]),
        };
        let mut message = json!({"role": "assistant", "content": content});
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        self.messages.push(message);
    }

    /// What a tool gave back.
    pub fn result(&mut self, id: Option<&str>, name: Option<&str>, text: &str) {
        let mut message = json!({"role": "tool", "content": text});
        for (key, value) in [("tool_call_id", id), ("name", name)] {
            if let Some(value) = value {
                message[key] = value.into();
            }
        }
        self.messages.push(message);
    }

    /// A tool that may be called.
    pub fn offer(&mut self, name: &str, description: Option<&str>, parameters: Option<&Value>) {
        let mut function = json!({"name": name});
        if let Some(description) = description {
            function["description"] = description.into();
        }
        function["parameters"] = parameters.cloned().unwrap_or_else(|| json!({}));
        self.tools.push(json!({"type": "function", "function": function}));
    }

    /// Lets the answer go on from where the last message is, if that is an answer.
    pub fn go_on(&mut self) {
        if let Some(last) = self
            .messages
            .last_mut()
            .filter(|last| last["role"] == "assistant")
        {
            last["prefix"] = true.into();
        }
    }

    /// The conversation.
    ///
    /// # Errors
    /// When it says what no conversation does.
    pub fn conversation(self) -> Result<Conversation, Fault> {
        let Self { messages, tools } = self;
        let json = json!({"messages": messages, "tools": tools}).to_string();
        Conversation::from_json(&json).map_err(|error| Fault::bad(error.to_string()).at("messages"))
    }
}

/// A call of a tool in an answer.
pub fn call(id: Option<&str>, name: &str, arguments: &Map<String, Value>) -> Value {
    let function = json!({"name": name, "arguments": arguments});
    json!({"id": id, "type": "function", "function": function})
}

/// The tokens of a conversation in which the model is to think so much.
///
/// # Errors
/// As [`Served::chat_prompt`], and when the chat format has no words for an effort.
pub fn prompt(
    served: &Served,
    conversation: Conversation,
    think: Option<&Think>,
) -> Result<Vec<u32>, Fault> {
    let effort = match think {
        None => return served.chat_prompt(&conversation),
        Some(Think::Off) => "none",
        Some(Think::On) => "high",
        Some(Think::Effort(effort)) => effort,
    };
    let asked = conversation.clone().with_reasoning_effort(Some(effort));
    match (served.chat_prompt(&asked), think) {
        (Err(_), Some(Think::Off | Think::On)) => served.chat_prompt(&conversation),
        (prompt, _) => prompt,
    }
}

/// Whether the model has words for thoughts.
pub fn thinks(served: &Served) -> bool {
    has_control(served, "[THINK]")
}

/// Whether the vocabulary has this control token.
pub fn has_control(served: &Served, name: &str) -> bool {
    let token = served.tokenizer.token(name);
    token.is_some_and(|id| served.tokenizer.kind(id) == Some(TokenKind::Control))
}
