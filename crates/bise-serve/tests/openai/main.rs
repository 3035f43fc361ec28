//! The interface of OpenAI.

mod chat;
#[path = "../common/mod.rs"]
mod common;
mod embeddings;
mod errors;
mod gone;
mod schemas;
mod texts;
mod tools;

use common::Running;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

/// A request of one message, and `more`.
fn asks(more: Value) -> Value {
    with(
        json!({"messages": [{"role": "user", "content": "Tell me of the fox."}], "max_tokens": 24, "seed": 7}),
        more,
    )
}

/// An object with the fields of another one.
fn with(mut object: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(more);
    object
}

impl Running {
    /// The answer to a request that is answered.
    fn answered(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{body} {answer}");
        answer
    }

    /// The chunks of a stream, which ends well.
    fn chunks(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut lines = self.stream(path, &with(body.clone(), json!({"stream": true})));
        assert_eq!(lines.pop().as_deref(), Some("[DONE]"));
        let chunk = |line: &String| serde_json::from_str(line).unwrap();
        lines.iter().map(chunk).collect()
    }
}

/// The names of an object's fields.
fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What does not depend on when a request came.
fn timeless(mut answer: Value) -> Value {
    let fields = answer.as_object_mut().unwrap();
    fields.remove("id");
    fields.remove("created");
    answer
}
