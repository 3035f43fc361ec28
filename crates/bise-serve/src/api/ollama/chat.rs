//! `/api/chat`

use super::line::{Asked, Line, Said, loaded, respond};
use super::options::{KeepAlive, Thinking, check_name, logprobs, no_images, wanted};
use crate::api::options::Options;
use crate::api::turns::{Turns, call, prompt};
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::state::App;
use crate::request::Voice;
use axum::extract::State;
use axum::response::Response;
use bise_model::chat::ToolCall;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::time::Instant;
use utoipa::ToSchema;

/// A conversation that is to go on.
#[derive(Deserialize, ToSchema)]
pub struct Chat {
    model: String,
    /// Without any the model is loaded, which it is.
    messages: Option<Vec<Message>>,
    tools: Option<Vec<Tool>>,
    /// `json`, or a JSON schema.
    #[schema(value_type = Option<Value>)]
    format: Option<Box<RawValue>>,
    options: Option<Options>,
    /// Whether each piece comes in a line of its own; it does unless this is false.
    stream: Option<bool>,
    think: Option<Thinking>,
    logprobs: Option<bool>,
    #[schema(maximum = 20)]
    top_logprobs: Option<u64>,
    #[allow(dead_code)]
    keep_alive: Option<KeepAlive>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Deserialize, ToSchema)]
struct Message {
    role: Role,
    content: Option<String>,
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
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize, ToSchema)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[derive(Deserialize, ToSchema)]
struct Tool {
    function: Definition,
}

#[derive(Deserialize, ToSchema)]
struct Definition {
    name: String,
    description: Option<String>,
    /// A JSON schema.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
}

/// A part of the answer.
#[derive(Serialize, ToSchema)]
pub struct Answer {
    message: Spoken,
}

#[derive(Serialize, ToSchema)]
struct Spoken {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<MadeCall>,
}

#[derive(Serialize, ToSchema)]
struct MadeCall {
    function: MadeFunction,
}

#[derive(Serialize, ToSchema)]
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
                arguments: object(&call.arguments),
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
pub fn object(arguments: &str) -> Map<String, Value> {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(map)) => map,
        Ok(other) => Map::from_iter([("arguments".to_owned(), other)]),
        Err(_) => Map::from_iter([("arguments".to_owned(), arguments.into())]),
    }
}

/// What follows in a conversation.
#[utoipa::path(post, path = "/api/chat", tag = "Ollama", request_body = Chat, responses(
    (status = 200, description = "The answer, whole or a line for each piece.", body = Line<Answer>),
))]
pub async fn chat(
    State(app): State<App>,
    Body { value: chat, text }: Body<Chat>,
) -> Result<Response, Fault> {
    let came = Instant::now();
    let served = app.served()?;
    check_name(served, &chat.model)?;
    let mut wanted = wanted(served, chat.options, chat.format.as_deref(), &text)?;
    wanted.logprobs = logprobs(chat.logprobs, chat.top_logprobs)?;
    let think = chat
        .think
        .map(|think| think.think(served, &chat.model))
        .transpose()?;
    let mut asked = Asked {
        model: chat.model,
        came,
        prompt: 0,
        thoughts: think != Some(crate::api::turns::Think::Off),
        logprobs: wanted.logprobs.is_some(),
    };
    let messages = chat.messages.unwrap_or_default();
    if messages.is_empty() {
        return Ok(loaded::<Answer>(&asked));
    }
    let tools = chat.tools.unwrap_or_default();
    let voice = Voice::Answer {
        tools: !tools.is_empty(),
    };
    let conversation = turns(messages, tools)?.conversation()?;
    let prompt = prompt(served, conversation, think.as_ref())?;
    asked.prompt = prompt.len();
    let events = served.submit(served.request(prompt, voice, wanted)?)?;
    respond::<Answer>(asked, events, chat.stream != Some(false)).await
}

/// The conversation in other words. Calls and results have no ids here: a result belongs to the
/// first call of its tool that has none yet.
fn turns(messages: Vec<Message>, tools: Vec<Tool>) -> Result<Turns, Fault> {
    let mut turns = Turns::default();
    for Tool { function } in &tools {
        let parameters = function.parameters.clone().map(Value::Object);
        turns.offer(
            &function.name,
            function.description.as_deref(),
            parameters.as_ref(),
        );
    }
    let mut open = Open::default();
    for (i, message) in messages.into_iter().enumerate() {
        no_images(
            &message.images.unwrap_or_default(),
            &format!("messages[{i}].images"),
        )?;
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
    turns.go_on();
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
        let value = call(Some(&id), &name, &arguments);
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
