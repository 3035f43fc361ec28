//! Conversations of other interfaces, in the words of OpenAI's, which chat templates know.

use super::openai::message::{self, Message};
use super::openai::tool::{Tool, functions};
use crate::fault::Fault;
use crate::http::body::parse;
use crate::served::Served;
use crate::tools::Function;
use bise_model::tokenizer::TokenKind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

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
#[derive(Debug, Default, Serialize)]
pub struct Turns {
    messages: Vec<Value>,
    /// A list of tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Box<RawValue>>,
}

impl Turns {
    /// A system's or a user's message.
    pub fn say(&mut self, role: &str, text: &str) {
        self.messages.push(json!({"role": role, "content": text}));
    }

    /// An answer, with the calls that [`call`] makes.
    pub fn answer(&mut self, thought: &str, text: &str, calls: Vec<Value>) {
        let mut message = json!({"role": "assistant", "content": text});
        if !thought.is_empty() {
            message["reasoning_content"] = thought.into();
        }
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

    /// Lets the answer go on from where the last message is, if that is an answer; whether it is.
    pub fn go_on(&mut self) -> bool {
        let last = self.messages.last_mut();
        let Some(last) = last.filter(|last| last["role"] == "assistant") else {
            return false;
        };
        last["prefix"] = true.into();
        true
    }

    /// What the tools can do.
    ///
    /// # Errors
    /// When they are none, or too many.
    pub fn functions(&self) -> Result<Vec<Function>, Fault> {
        #[derive(Deserialize)]
        struct Offered {
            tools: Vec<Tool>,
        }
        match &self.tools {
            None => Ok(Vec::new()),
            // The place in the list belongs to errors.
            Some(tools) => functions(&parse::<Offered>(&format!("{{\"tools\": {tools}}}"))?.tools),
        }
    }

    /// The tokens of the conversation, in which the model is to think so much.
    ///
    /// # Errors
    /// When the chat format does not allow it, or has no words for an effort.
    pub fn prompt(&self, served: &Served, think: Option<&Think>) -> Result<Vec<u32>, Fault> {
        #[derive(Deserialize)]
        struct Said {
            messages: Vec<Message>,
        }
        // What was put together here can be written.
        let text = serde_json::to_string(self).unwrap_or_default();
        let messages = parse::<Said>(&text)?.messages;
        let tools = self.tools.is_some();
        let prompt = |effort| message::prompt(served, &text, &messages, tools, effort);
        match think {
            None => prompt(None),
            Some(Think::Effort(effort)) => prompt(Some(effort)),
            // Where there are no words for it, the model does as it always does.
            Some(Think::Off) => prompt(Some("none")).or_else(|_| prompt(None)),
            Some(Think::On) => prompt(Some("high")).or_else(|_| prompt(None)),
        }
    }
}

/// A call of a tool in an answer; `arguments` are JSON.
pub fn call(id: &str, name: &str, arguments: &str) -> Value {
    let function = json!({"name": name, "arguments": arguments});
    json!({"id": id, "type": "function", "function": function})
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
