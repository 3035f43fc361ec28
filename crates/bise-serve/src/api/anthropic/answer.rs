//! Answers, whole.

use crate::api::openai::answer::Heading;
use crate::request::{End, Finish, Piece};
use bise_model::chat::ToolCall;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// An answer.
#[derive(Serialize, ToSchema)]
#[schema(as = anthropic::Answer)]
pub struct Answer {
    /// A name of its own.
    id: String,
    /// `message`
    r#type: &'static str,
    /// `assistant`
    role: &'static str,
    model: String,
    content: Vec<Part>,
    /// Why it ended; null before the end.
    stop_reason: Option<&'static str>,
    /// The text of `stop_sequences` that came.
    stop_sequence: Option<String>,
    /// Numbers of tokens.
    pub usage: Usage,
}

/// A part of an answer.
#[derive(Serialize, ToSchema)]
#[schema(as = anthropic::Part)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// What was thought.
    Thinking {
        /// The thought.
        thinking: String,
        /// Nobody checks thoughts.
        signature: &'static str,
    },
    /// What is said.
    Text {
        /// The text.
        text: String,
    },
    /// A call of a tool.
    ToolUse {
        /// Ties the result to the call.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        #[schema(value_type = Object)]
        input: Value,
    },
}

/// Numbers of tokens.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[schema(as = anthropic::Usage)]
pub struct Usage {
    /// Of the prompt, those that were read.
    pub input_tokens: usize,
    /// Of the prompt, those that were known.
    pub cache_read_input_tokens: usize,
    /// None: what is read is always kept.
    pub cache_creation_input_tokens: usize,
    /// Of the answer.
    pub output_tokens: usize,
}

/// What an answer does not say of itself.
pub struct Asked {
    /// The answer's name, and the model's.
    pub heading: Heading,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Whether thoughts are shown.
    pub thoughts: bool,
    /// Whether several tools may be called at a time.
    pub many: bool,
}

impl Asked {
    /// Before anything is said, when so many tokens of the prompt were known.
    pub fn begun(&self, cached: usize) -> Answer {
        Answer {
            id: self.heading.id.clone(),
            r#type: "message",
            role: "assistant",
            model: self.heading.model.clone(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: Usage {
                input_tokens: self.prompt - cached,
                cache_read_input_tokens: cached,
                ..Usage::default()
            },
        }
    }

    /// All of it.
    pub fn whole(&self, cached: usize, piece: Piece, end: End) -> Answer {
        let mut answer = self.begun(cached);
        if self.thoughts && !piece.thought.is_empty() {
            answer.content.push(Part::Thinking {
                thinking: piece.thought,
                signature: "",
            });
        }
        if !piece.text.is_empty() {
            answer.content.push(Part::Text { text: piece.text });
        }
        answer.usage.output_tokens = end.tokens;
        (answer.stop_reason, answer.stop_sequence) = stopped(&end.finish);
        let calls = self.calls(end.calls).into_iter();
        answer.content.extend(calls.map(|call| Part::ToolUse {
            input: arguments(&call.arguments),
            id: call.id.unwrap_or_default(),
            name: call.name,
        }));
        answer
    }

    /// Those calls that may be there.
    pub fn calls(&self, mut calls: Vec<ToolCall>) -> Vec<ToolCall> {
        calls.truncate(if self.many { usize::MAX } else { 1 });
        calls
    }
}

/// Why an answer ended, and by which text.
pub fn stopped(finish: &Finish) -> (Option<&'static str>, Option<String>) {
    match finish {
        Finish::End => (Some("end_turn"), None),
        Finish::Stop(text) => (Some("stop_sequence"), Some(text.clone())),
        Finish::Length => (Some("max_tokens"), None),
        Finish::Calls => (Some("tool_use"), None),
    }
}

/// Arguments as an object, which clients insist on.
fn arguments(written: &str) -> Value {
    match serde_json::from_str(written) {
        Ok(object @ Value::Object(_)) => object,
        Ok(other) => Map::from_iter([("arguments".to_owned(), other)]).into(),
        Err(_) => Map::from_iter([("arguments".to_owned(), written.into())]).into(),
    }
}
