//! What a Jinja template sees of a conversation.

use indexmap::IndexMap;

use super::json::Json;
use super::message::{Message, Tool, ToolCall};

/// Messages, tools and variables, as transformers give them to templates.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Request {
    /// Objects.
    pub messages: Vec<Json>,
    /// `None` where nothing is said of tools.
    pub tools: Option<Vec<Json>>,
    /// Whatever else the request says.
    pub variables: IndexMap<String, Json>,
}

impl Request {
    /// What these messages and tools say.
    pub fn of(messages: &[Message], tools: &[Tool]) -> Self {
        Self {
            messages: messages.iter().map(message_json).collect(),
            tools: Some(tools.iter().map(Tool::to_json).collect()).filter(|_| !tools.is_empty()),
            variables: IndexMap::new(),
        }
    }

    /// What the JSON of a chat request says: a list of messages, or an object that has one.
    ///
    /// Arguments of calls that are an object written as a text, as OpenAI has them, are the object
    /// itself, which is what templates expect.
    pub fn read(json: Json) -> Option<Self> {
        let mut variables = match json {
            Json::Object(map) => map,
            list => IndexMap::from([("messages".to_owned(), list)]),
        };
        let Some(Json::Array(mut messages)) = variables.shift_remove("messages") else {
            return None;
        };
        messages.iter_mut().for_each(open_arguments);
        let tools = match variables.shift_remove("tools") {
            Some(Json::Array(tools)) => Some(tools),
            _ => None,
        };
        if let Some(Json::Object(more)) = variables.shift_remove("chat_template_kwargs") {
            variables.extend(more);
        }
        Some(Self {
            messages,
            tools,
            variables,
        })
    }
}

fn open_arguments(message: &mut Json) {
    let Json::Object(message) = message else {
        return;
    };
    let Some(Json::Array(calls)) = message.get_mut("tool_calls") else {
        return;
    };
    for call in calls {
        if let Json::Object(call) = call
            && let Some(Json::Object(function)) = call.get_mut("function")
            && let Some(arguments) = function.get_mut("arguments")
            && let Some(object) = arguments.as_str().and_then(Json::parse).filter(Json::is_object)
        {
            *arguments = object;
        }
    }
}

/// A message of which no JSON was read.
fn message_json(message: &Message) -> Json {
    let mut object = IndexMap::from([
        ("role".to_owned(), Json::from(message.role())),
        (
            "content".to_owned(),
            Json::from_value(&message.content().to_json()),
        ),
    ]);
    match message {
        Message::Assistant { tool_calls, .. } if !tool_calls.is_empty() => {
            let calls = tool_calls.iter().map(call_json).collect();
            object.insert("tool_calls".to_owned(), Json::Array(calls));
        }
        Message::Tool { call_id, name, .. } => {
            for (key, text) in [("tool_call_id", call_id), ("name", name)] {
                if let Some(text) = text {
                    object.insert(key.to_owned(), text.as_str().into());
                }
            }
        }
        _ => {}
    }
    Json::Object(object)
}

fn call_json(call: &ToolCall) -> Json {
    let id = call
        .id
        .as_deref()
        .map_or(Json::Plain("null".to_owned()), Json::from);
    let arguments = Json::parse(&call.arguments).filter(Json::is_object);
    let arguments = arguments.unwrap_or_else(|| call.arguments.as_str().into());
    let function = Json::object([("name", call.name.as_str().into()), ("arguments", arguments)]);
    Json::object([("id", id), ("type", "function".into()), ("function", function)])
}
