//! Answers, piece by piece.
//!
//! ```text
//! message_start
//!     (content_block_start  content_block_delta ..  content_block_stop) ..
//! message_delta  message_stop
//! ```

use super::answer::{Answer, Asked, Kind, Part, Usage, stopped};
use crate::api::sse;
use crate::fault::Fault;
use crate::gather::ended_early;
use crate::http::form::Form;
use crate::request::{End, Event, Piece};
use axum::response::sse::Event as Sent;
use bise_model::chat::ToolCall;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// An event; each type has some of these fields.
#[derive(ToSchema)]
#[schema(as = anthropic::StreamEvent)]
#[allow(dead_code)] // describes what is sent
pub struct StreamEvent {
    /// `message_start`, `content_block_start`, `content_block_delta`, `content_block_stop`,
    /// `message_delta`, `message_stop`, or `error`.
    r#type: String,
    /// The answer before anything is said.
    message: Option<Answer>,
    /// Which part of the answer, from 0.
    index: Option<usize>,
    /// A part that begins.
    content_block: Option<Part>,
    /// What is new in it, or why the answer ended.
    #[schema(value_type = Option<Object>)]
    delta: Option<Value>,
    /// Numbers of tokens, at the end.
    usage: Option<Usage>,
}

/// Makes pieces of what comes.
pub struct Pieces {
    asked: Asked,
    usage: Usage,
    /// The part that is being said.
    open: Option<Kind>,
    /// Parts that were begun.
    parts: usize,
    over: bool,
}

impl Pieces {
    /// Before the first piece.
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            usage: Usage::default(),
            open: None,
            parts: 0,
            over: false,
        }
    }

    /// What is sent for `event`, or at the end of all.
    pub fn of(&mut self, event: Option<Event>) -> Vec<Sent> {
        let mut sent = Vec::new();
        match event {
            Some(Event::Begun { cached }) => {
                let message = self.asked.begun(cached);
                self.usage = message.usage;
                sent.push(named(json!({"type": "message_start", "message": message})));
            }
            Some(Event::Piece { piece, .. }) => self.piece(piece, &mut sent),
            Some(Event::Ended { end, .. }) => self.end(end, &mut sent),
            Some(Event::Failed { problem }) => self.fail(&Fault::internal(problem), &mut sent),
            None if self.over => {}
            None => self.fail(&ended_early(), &mut sent),
        }
        sent
    }

    fn piece(&mut self, piece: Piece, sent: &mut Vec<Sent>) {
        for (kind, text) in self.asked.shown(piece, self.open) {
            if self.open != Some(kind) {
                self.close(sent);
                self.begin(kind.empty(), sent);
                self.open = Some(kind);
            }
            self.delta(kind.delta(text), sent);
        }
    }

    fn end(&mut self, end: End, sent: &mut Vec<Sent>) {
        self.close(sent);
        for ToolCall {
            id,
            name,
            arguments,
        } in self.asked.calls(end.calls)
        {
            self.begin(
                json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
                sent,
            );
            self.delta(
                json!({"type": "input_json_delta", "partial_json": arguments}),
                sent,
            );
            self.stop(sent);
        }
        self.usage.output_tokens = end.tokens;
        let (reason, text) = stopped(&end.finish);
        let delta = json!({"stop_reason": reason, "stop_sequence": text});
        sent.push(named(
            json!({"type": "message_delta", "delta": delta, "usage": self.usage}),
        ));
        sent.push(named(json!({"type": "message_stop"})));
        self.over = true;
    }

    fn fail(&mut self, fault: &Fault, sent: &mut Vec<Sent>) {
        sent.push(named(Form::Anthropic.error(fault)));
        self.over = true;
    }

    fn begin(&mut self, block: Value, sent: &mut Vec<Sent>) {
        let index = self.parts;
        self.parts += 1;
        let start = json!({"type": "content_block_start", "index": index, "content_block": block});
        sent.push(named(start));
    }

    fn delta(&self, delta: Value, sent: &mut Vec<Sent>) {
        let index = self.parts - 1;
        sent.push(named(
            json!({"type": "content_block_delta", "index": index, "delta": delta}),
        ));
    }

    fn stop(&self, sent: &mut Vec<Sent>) {
        sent.push(named(
            json!({"type": "content_block_stop", "index": self.parts - 1}),
        ));
    }

    fn close(&mut self, sent: &mut Vec<Sent>) {
        if self.open.take().is_some() {
            self.stop(sent);
        }
    }
}

impl Kind {
    fn empty(self) -> Value {
        match self {
            Self::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Self::Text => json!({"type": "text", "text": ""}),
        }
    }

    fn delta(self, text: String) -> Value {
        match self {
            Self::Thinking => json!({"type": "thinking_delta", "thinking": text}),
            Self::Text => json!({"type": "text_delta", "text": text}),
        }
    }
}

/// An event with its type in a line before, without which clients do not see it.
fn named(event: Value) -> Sent {
    sse::named(event["type"].as_str().unwrap_or_default(), &event)
}
