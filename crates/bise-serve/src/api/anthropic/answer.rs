//! Answers, whole.

use crate::api::openai::answer::Heading;
use crate::fault::Fault;
use crate::gather::ended_early;
use crate::request::{End, Event, Finish, Piece};
use bise_model::chat::ToolCall;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc::Receiver;
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

    /// All of it, of what comes by `events`.
    ///
    /// # Errors
    /// When it could not be computed.
    pub async fn whole(&self, mut events: Receiver<Event>) -> Result<Answer, Fault> {
        let mut answer = self.begun(0);
        while let Some(event) = events.recv().await {
            match event {
                Event::Begun { cached } => answer = self.begun(cached),
                Event::Piece { piece, .. } => {
                    let open = match answer.content.last() {
                        Some(Part::Text { .. }) => Some(Kind::Text),
                        _ => None,
                    };
                    for (kind, more) in self.shown(piece, open) {
                        answer.say(kind, &more);
                    }
                }
                Event::Ended { end, .. } => {
                    answer.end(self, end);
                    return Ok(answer);
                }
                Event::Failed { problem } => return Err(Fault::internal(problem)),
            }
        }
        Err(ended_early())
    }

    /// What is shown of `piece`, in order; `open` is the part that is being said: what belongs to
    /// it was said before.
    pub fn shown(&self, piece: Piece, open: Option<Kind>) -> Vec<(Kind, String)> {
        let (thought, text) = ((Kind::Thinking, piece.thought), (Kind::Text, piece.text));
        let parts = match open {
            Some(Kind::Text) => [text, thought],
            _ => [thought, text],
        };
        let is_shown = |kind| kind == Kind::Text || self.thoughts;
        let parts = parts.into_iter();
        parts
            .filter(|(kind, text)| is_shown(*kind) && !text.is_empty())
            .collect()
    }

    /// Those calls that may be there.
    pub fn calls(&self, mut calls: Vec<ToolCall>) -> Vec<ToolCall> {
        calls.truncate(if self.many { usize::MAX } else { 1 });
        calls
    }
}

/// A part of an answer that comes in pieces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A thought.
    Thinking,
    /// A text.
    Text,
}

impl Answer {
    /// Says more, in a part of its kind.
    fn say(&mut self, kind: Kind, more: &str) {
        match (kind, self.content.last_mut()) {
            (Kind::Thinking, Some(Part::Thinking { thinking, .. })) => thinking.push_str(more),
            (Kind::Text, Some(Part::Text { text })) => text.push_str(more),
            (Kind::Thinking, _) => self.content.push(Part::Thinking {
                thinking: more.to_owned(),
                signature: "",
            }),
            (Kind::Text, _) => self.content.push(Part::Text {
                text: more.to_owned(),
            }),
        }
    }

    fn end(&mut self, asked: &Asked, end: End) {
        self.usage.output_tokens = end.tokens;
        (self.stop_reason, self.stop_sequence) = stopped(&end.finish);
        let calls = asked.calls(end.calls).into_iter();
        self.content.extend(calls.map(|call| Part::ToolUse {
            input: arguments(&call.arguments),
            id: call.id.unwrap_or_default(),
            name: call.name,
        }));
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
