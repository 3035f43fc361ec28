//! Messages and tools, and the JSON of a chat request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::content::Content;
use super::json::Json;
use super::message::{Message, Tool, ToolCall};
use super::request::Request;

/// Messages and the tools that they may use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversation {
    messages: Vec<Message>,
    tools: Vec<Tool>,
    /// What was read, of which a Jinja template sees all.
    request: Option<Request>,
    reasoning_effort: Option<String>,
}

impl Conversation {
    /// Messages in order, and what the model may call.
    pub fn new(messages: impl Into<Vec<Message>>, tools: impl Into<Vec<Tool>>) -> Self {
        Self {
            messages: messages.into(),
            tools: tools.into(),
            request: None,
            reasoning_effort: None,
        }
    }

    /// The messages, in order.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The messages alone.
    pub fn into_messages(self) -> Vec<Message> {
        self.messages
    }

    /// What the model may call.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// What a Jinja template sees.
    pub(super) fn request(&self) -> Cow<'_, Request> {
        match &self.request {
            Some(request) => Cow::Borrowed(request),
            None => Cow::Owned(Request::of(&self.messages, &self.tools)),
        }
    }

    /// How much the model is asked to think, `none` to `max`.
    pub fn reasoning_effort(&self) -> Option<&str> {
        self.reasoning_effort.as_deref()
    }

    /// The same, asking for this effort, where it is one.
    #[must_use]
    pub fn with_reasoning_effort(mut self, effort: Option<&str>) -> Self {
        if let Some(effort) = effort {
            self.reasoning_effort = Some(effort.to_owned());
            let mut request = self.request().into_owned();
            request
                .variables
                .insert("reasoning_effort".to_owned(), effort.into());
            self.request = Some(request);
        }
        self
    }

    /// Reads the JSON of a chat request, as OpenAI's and Mistral's interfaces take it:
    /// `{"messages": [{"role": "user", "content": "..."}], "tools": [...], "reasoning_effort":
    /// "high"}`, or the list of messages alone.
    ///
    /// Content is a text, or a list of parts `{"type": "text", "text": "..."}`, which an empty line
    /// joins where the format has no parts, and `{"type": "thinking", "thinking": "...", "closed":
    /// true}`. The last answer goes on from where it is with `"prefix": true`. A Jinja template
    /// sees all that messages and tools say, and as variables what else the request says, and what
    /// its `chat_template_kwargs` say.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        let wire = match serde_json::from_str::<Value>(json)? {
            list @ Value::Array(_) => WireRequest {
                messages: serde_json::from_value(list)?,
                tools: None,
                reasoning_effort: None,
            },
            request => serde_json::from_value(request)?,
        };
        let messages = wire.messages.into_iter().map(WireMessage::into_message);
        let tools = wire
            .tools
            .unwrap_or_default()
            .into_iter()
            .map(WireTool::into_tool);
        let mut conversation = Self::new(messages.collect::<Vec<_>>(), tools.collect::<Vec<_>>());
        conversation.reasoning_effort = wire.reasoning_effort;
        if let Some(request) = Json::parse(json).and_then(Request::read) {
            conversation.take_numbers(&request);
            conversation.request = Some(request);
        }
        Ok(conversation)
    }

    /// Numbers in parameters and arguments as they are written, which the library cuts down to 64
    /// bits.
    fn take_numbers(&mut self, request: &Request) {
        for (tool, read) in self.tools.iter_mut().zip(request.tools.iter().flatten()) {
            if let Some(parameters) = read
                .at(&["function", "parameters"])
                .filter(|json| json.is_object())
            {
                tool.parameters = parameters.clone();
            }
        }
        for (message, read) in self.messages.iter_mut().zip(&request.messages) {
            let Message::Assistant { tool_calls, .. } = message else {
                continue;
            };
            for (call, read) in tool_calls
                .iter_mut()
                .zip(read.get("tool_calls").into_iter().flat_map(Json::items))
            {
                match read.at(&["function", "arguments"]) {
                    Some(object) if object.is_object() => call.arguments = object.to_string(),
                    _ => {}
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct WireRequest {
    messages: Vec<WireMessage>,
    tools: Option<Vec<WireTool>>,
    reasoning_effort: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum WireMessage {
    System {
        content: Content,
    },
    User {
        content: Content,
    },
    Assistant {
        content: Option<Content>,
        tool_calls: Option<Vec<WireCall>>,
        #[serde(default)]
        prefix: bool,
    },
    Tool {
        content: Content,
        tool_call_id: Option<String>,
        name: Option<String>,
    },
}

impl WireMessage {
    fn into_message(self) -> Message {
        match self {
            Self::System { content } => Message::System { content },
            Self::User { content } => Message::User { content },
            Self::Assistant {
                content,
                tool_calls,
                prefix,
            } => Message::Assistant {
                content: content.unwrap_or_default(),
                tool_calls: tool_calls
                    .unwrap_or_default()
                    .into_iter()
                    .map(WireCall::into_call)
                    .collect(),
                prefix,
            },
            Self::Tool {
                content,
                tool_call_id,
                name,
            } => Message::Tool {
                content,
                call_id: tool_call_id,
                name,
            },
        }
    }
}

#[derive(Deserialize)]
struct WireCall {
    id: Option<String>,
    function: WireFunction,
}

#[derive(Deserialize)]
struct WireFunction {
    name: String,
    /// JSON as a text, as OpenAI has it, or as it is.
    #[serde(default)]
    arguments: Value,
}

impl WireCall {
    fn into_call(self) -> ToolCall {
        ToolCall {
            id: self.id,
            name: self.function.name,
            arguments: match self.function.arguments {
                Value::Null => String::new(),
                Value::String(text) => text,
                value => Json::from_value(&value).to_string(),
            },
        }
    }
}

#[derive(Deserialize)]
struct WireTool {
    function: WireDefinition,
}

#[derive(Deserialize)]
struct WireDefinition {
    name: String,
    description: Option<String>,
    parameters: Option<Value>,
}

impl WireTool {
    fn into_tool(self) -> Tool {
        let WireDefinition {
            name,
            description,
            parameters,
        } = self.function;
        Tool {
            name,
            description: description.unwrap_or_default(),
            parameters: match parameters {
                Some(parameters) => Json::from_value(&parameters),
                None => Json::object([]),
            },
        }
    }
}
