//! `/api/chat`

use super::line::{Asked, Line, Said, answer};
use super::options::{
    KeepAlive, Thinking, at_format, check_name, logprobs, no_images, object, wanted,
};
use crate::api::openai::number::Whole;
use crate::api::openai::tool::Tool;
use crate::api::options::Options;
use crate::api::turns::{Think, Turns, call};
use crate::fault::Fault;
use crate::http::body::{Body, parse};
use crate::http::state::App;
use crate::request::{Request, Voice};
use crate::served::Served;
use crate::tools;
use axum::extract::State;
use axum::response::Response;
use bise_model::chat::ToolCall;
use bise_model::constraint::Grammar;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::time::Instant;
use utoipa::ToSchema;

/// A conversation that is to go on.
#[derive(Deserialize, ToSchema)]
#[schema(as = ollama::Chat)]
pub struct Chat {
    model: String,
    /// Without any the model is loaded, which it is.
    messages: Option<Vec<Message>>,
    /// What the model may call.
    #[allow(dead_code)] // is read once more, as it is written
    tools: Option<Vec<Tool>>,
    /// `json`, or a JSON schema.
    #[schema(value_type = Option<Value>)]
    format: Option<Box<RawValue>>,
    options: Option<Options>,
    /// Whether each piece comes in a line of its own; it does unless this is false.
    stream: Option<bool>,
    think: Option<Thinking>,
    /// Whether each token's probability is told.
    logprobs: Option<bool>,
    /// Of how many of the likeliest tokens it is told, with `logprobs`.
    #[schema(inline)]
    top_logprobs: Option<Whole<0, 20>>,
    #[allow(dead_code)] // the model stays
    keep_alive: Option<KeepAlive>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ollama::Role)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ollama::Message)]
struct Message {
    role: Role,
    content: Option<String>,
    /// What was thought before an answer.
    thinking: Option<String>,
    tool_calls: Option<Vec<Call>>,
    /// Which tool gave this back.
    tool_name: Option<String>,
    /// Which call this answers; without it, the first that has no answer yet.
    tool_call_id: Option<String>,
    #[schema(value_type = Option<Vec<String>>, max_items = 0)]
    images: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ollama::Call)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ollama::Function)]
struct Function {
    name: String,
    #[serde(default, deserialize_with = "object")]
    #[schema(value_type = Option<Object>)]
    arguments: Option<Box<RawValue>>,
}

/// A part of the answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ollama::ChatAnswer)]
pub struct Answer {
    message: Spoken,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ollama::Spoken)]
struct Spoken {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<MadeCall>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ollama::MadeCall)]
struct MadeCall {
    function: MadeFunction,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ollama::MadeFunction)]
struct MadeFunction {
    index: usize,
    name: String,
    #[schema(value_type = Object)]
    arguments: Map<String, Value>,
}

impl Said for Answer {
    fn new(content: String, thinking: String, calls: Vec<ToolCall>) -> Self {
        let made = |(index, call): (usize, ToolCall)| MadeCall {
            function: MadeFunction {
                index,
                name: call.name,
                arguments: arguments(&call.arguments),
            },
        };
        Self {
            message: Spoken {
                role: "assistant",
                content,
                thinking,
                tool_calls: calls.into_iter().enumerate().map(made).collect(),
            },
        }
    }
}

/// Arguments as an object, which clients insist on.
pub fn arguments(arguments: &str) -> Map<String, Value> {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(map)) => map,
        Ok(other) => Map::from_iter([("arguments".to_owned(), other)]),
        Err(_) => Map::from_iter([("arguments".to_owned(), arguments.into())]),
    }
}

/// Answer a conversation
#[utoipa::path(post, path = "/api/chat", tag = "Ollama", request_body = Chat, responses(
    (status = 200, description = "A line for each piece, or with `stream` false all at once.",
     content((Line<Answer> = "application/x-ndjson"), (Line<Answer> = "application/json"))),
))]
pub async fn chat(State(app): State<App>, body: Body<Chat>) -> Result<Response, Fault> {
    let came = Instant::now();
    let (served, streamed) = (app.served()?.clone(), body.value.stream != Some(false));
    let asked = move |served: &Served| body.value.request(served, &body.text, came);
    answer::<Answer>(served, streamed, asked).await
}

impl Chat {
    /// What is to be told, and what the scheduler is asked: nothing where nobody says anything.
    fn request(
        self,
        served: &Served,
        text: &str,
        came: Instant,
    ) -> Result<(Asked, Option<Request>), Fault> {
        check_name(served, &self.model)?;
        let mut wanted = wanted(served, self.options.as_ref(), self.format.as_deref(), text)?;
        wanted.logprobs = logprobs(self.logprobs, self.top_logprobs)?;
        let think = self
            .think
            .map(|think| think.think(served, &self.model))
            .transpose()?;
        let mut asked = Asked {
            model: self.model,
            came,
            prompt: 0,
            thoughts: think != Some(Think::Off),
            logprobs: wanted.logprobs.is_some(),
        };
        let messages = self.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok((asked, None));
        }
        let mut turns = turns(messages)?;
        turns.tools = offered(text)?;
        let functions = turns.functions()?;
        let voice = match turns.go_on() {
            true => Voice::Continuation,
            false => Voice::Answer {
                tools: !functions.is_empty(),
            },
        };
        if voice == (Voice::Answer { tools: true }) {
            let schema = wanted.grammar.as_ref().and_then(schema);
            let either = schema.map(|schema| {
                tools::grammar(served, &functions, true, &tools::Wanted::CallsOr(schema))
            });
            wanted.grammar = either.transpose()?;
        }
        let prompt = turns.prompt(served, think.as_ref())?;
        asked.prompt = prompt.len();
        let request = served.request(prompt, voice, wanted).map_err(at_format)?;
        Ok((asked, Some(request)))
    }
}

/// The schema of the JSON that a grammar of `format` describes.
fn schema(grammar: &Grammar) -> Option<Value> {
    match grammar {
        Grammar::JsonSchema(text) => serde_json::from_str(text).ok(),
        _ => Some(json!({"type": "object"})),
    }
}

/// The tools of the request `text`, as they are written; an empty list is none.
fn offered(text: &str) -> Result<Option<Box<RawValue>>, Fault> {
    #[derive(Deserialize)]
    struct Written {
        tools: Option<Box<RawValue>>,
    }
    let written = parse::<Written>(text)?.tools;
    let is_empty = |tools: &RawValue| tools.get()[1..].trim_start().starts_with(']');
    Ok(written.filter(|tools| !is_empty(tools)))
}

/// The conversation in other words. Calls and results have no ids here: a result belongs to the
/// first call of its tool that has none yet.
fn turns(messages: Vec<Message>) -> Result<Turns, Fault> {
    let (mut turns, mut open) = (Turns::default(), Open::default());
    for (i, message) in messages.into_iter().enumerate() {
        no_images(message.images.as_ref(), &format!("messages[{i}].images"))?;
        let text = message.content.unwrap_or_default();
        match message.role {
            Role::System => turns.say("system", &text),
            Role::User => turns.say("user", &text),
            Role::Assistant => {
                let calls = message.tool_calls.unwrap_or_default();
                let calls = calls.into_iter().map(|made| open.made(made)).collect();
                turns.answer(&message.thinking.unwrap_or_default(), &text, calls);
            }
            Role::Tool => {
                let (id, name) = open.answered(message.tool_call_id, message.tool_name);
                turns.result(id.as_deref(), name.as_deref(), &text);
            }
        }
    }
    Ok(turns)
}

/// Calls without a result.
#[derive(Default)]
struct Open {
    /// Ids and tools.
    calls: VecDeque<(String, String)>,
    count: usize,
}

impl Open {
    fn made(&mut self, made: Call) -> Value {
        self.count += 1;
        // Nine letters and digits, as the formats want them.
        let id = made.id.unwrap_or_else(|| format!("call{:05}", self.count));
        let Function { name, arguments } = made.function;
        let arguments = arguments.as_deref().map_or("{}", RawValue::get);
        let value = call(&id, &name, arguments);
        self.calls.push_back((id, name));
        value
    }

    /// Id and tool of the call that a result belongs to.
    fn answered(
        &mut self,
        id: Option<String>,
        name: Option<String>,
    ) -> (Option<String>, Option<String>) {
        let is_it = |(call, tool): &(String, String)| match (&id, &name) {
            (Some(id), _) => call == id,
            (None, Some(name)) => tool == name,
            (None, None) => true,
        };
        let at = self.calls.iter().position(is_it).unwrap_or(0);
        match self.calls.remove(at) {
            Some((call, tool)) => (id.or(Some(call)), name.or(Some(tool))),
            None => (id, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_calls_are_objects() {
        let call = |arguments: &str| ToolCall {
            id: Some("abcdefghi".to_owned()),
            name: "f".to_owned(),
            arguments: arguments.to_owned(),
        };
        for (written, expected) in [
            ("{\"a\": [1]}", json!({"a": [1]})),
            ("[1]", json!({"arguments": [1]})),
            ("no JSON", json!({"arguments": "no JSON"})),
        ] {
            let answer = Answer::new(String::new(), String::new(), vec![call(written)]);
            let function = json!({"index": 0, "name": "f", "arguments": expected});
            let calls = json!([{"function": function}]);
            let message = json!({"role": "assistant", "content": "", "tool_calls": calls});
            assert_eq!(json!(answer), json!({"message": message}));
        }
    }
}
