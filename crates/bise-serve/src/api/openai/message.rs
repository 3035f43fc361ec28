//! Messages as requests have them, and the tokens of the conversation that they make.

use super::content::Content;
use super::number::unexpected;
use crate::fault::Fault;
use crate::served::Served;
use bise_model::chat::{Conversation, Json, Template, Version};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A message.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = openai::Message)]
pub struct Message {
    /// Who speaks.
    role: Role,
    /// What is said. An answer that calls tools need not say anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content>,
    /// Calls of tools, in an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<Call>>,
    /// The call that a tool's result belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    /// What a tool is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Of the last message: whether the answer goes on from it, as Mistral's clients have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<bool>,
    /// What was thought before an answer. Chat formats that know no thoughts leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
}

/// Who speaks. `developer` is another word for `system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = openai::Role)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    #[serde(rename(serialize = "system"))]
    Developer,
    User,
    Assistant,
    Tool,
}

/// A call of a tool in an earlier answer.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = openai::Call)]
struct Call {
    /// Ties the result to the call.
    id: Option<String>,
    /// There are only functions.
    r#type: Option<Kind>,
    /// What was called.
    function: Called,
}

/// The one kind of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = openai::ToolType)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A function.
    Function,
}

/// What was called.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = openai::Called)]
struct Called {
    /// The tool.
    name: String,
    /// JSON as a text, or an object.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "arguments"
    )]
    #[schema(value_type = Option<String>)]
    arguments: Option<Box<RawValue>>,
}

/// JSON as a text, as OpenAI has it, or an object.
fn arguments<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    let written = Option::<Box<RawValue>>::deserialize(deserializer)?;
    match written {
        Some(json) if !json.get().starts_with(['"', '{']) => {
            Err(unexpected(&json, "expected JSON as a text, or an object"))
        }
        written => Ok(written),
    }
}

/// The tokens of what `messages` say, which are those of the request `text`; with its tools, where
/// they are to be shown, and asking for `effort`.
///
/// # Errors
/// When the chat format does not allow the conversation, or there is none.
pub fn prompt(
    served: &Served,
    text: &str,
    messages: &[Message],
    tools: bool,
    effort: Option<&str>,
) -> Result<Vec<u32>, Fault> {
    if messages.is_empty() {
        return Err(Fault::bad("there are no messages; expected at least one").at("messages"));
    }
    for (i, message) in messages.iter().enumerate() {
        let speaks = matches!(message.role, Role::System | Role::Developer | Role::User);
        if speaks && message.content.is_none() {
            let what = "there is no content; expected a text, or a list of parts";
            let param = format!("messages[{i}].content");
            return Err(Fault::bad(format!("{param}: {what}")).at(param));
        }
    }
    let mut messages: Vec<Message> = messages.to_vec();
    messages
        .iter_mut()
        .for_each(|message| message.fit(&served.template));
    let encode = |messages: &[Message]| {
        let conversation = conversation(text, messages, tools)?;
        served.chat_prompt(&conversation.with_reasoning_effort(effort))
    };
    let ids = encode(&messages);
    match (&ids, &*served.template) {
        (Err(_), Template::Jinja(_)) if messages.iter().any(Message::has_parts) => {
            // The template may know texts alone.
            messages.iter_mut().for_each(Message::join);
            encode(&messages).or(ids)
        }
        _ => ids,
    }
}

/// The text that the answer goes on from, as the last of `messages` says.
pub fn prefix(messages: &[Message]) -> Option<String> {
    let last = messages.last().filter(|last| last.prefix == Some(true))?;
    Some(last.content.as_ref().map_or(String::new(), Content::text))
}

impl Message {
    /// Gives it the form that the chat format knows.
    fn fit(&mut self, template: &Template) {
        let late = matches!(template, Template::Mistral(Version::V13 | Version::V15));
        if !late {
            let ids = self
                .tool_calls
                .iter_mut()
                .flatten()
                .filter_map(|call| call.id.as_mut());
            ids.chain(&mut self.tool_call_id)
                .for_each(|id| *id = short_id(id));
        }
        if self.tool_calls.as_ref().is_some_and(Vec::is_empty) {
            self.tool_calls = None;
        }
        match (self.role, &mut self.content) {
            (Role::Assistant, content) if late => {
                if let Some(thought) = self.reasoning_content.take() {
                    let said = content.take().unwrap_or(Content::Text(String::new()));
                    *content = Some(said.after(thought));
                }
            }
            (Role::Tool, content @ None) => *content = Some(Content::Text(String::new())),
            _ => {}
        }
    }

    fn has_parts(&self) -> bool {
        matches!(self.content, Some(Content::Parts(_)))
    }

    fn join(&mut self) {
        self.content = self.content.take().map(Content::joined);
    }
}

/// An id of nine letters or digits, as formats up to v11 want it: others are replaced by nine made
/// of them, the same in a call and its result.
fn short_id(id: &str) -> String {
    if id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    // FNV-1a.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let digit = |i: u32| char::from_digit((hash / 36u64.pow(i) % 36) as u32, 36);
    (0..9).filter_map(digit).collect()
}

/// What `messages` and the rest of the request `text` say. What else its messages say stays, as
/// templates may know it.
fn conversation(text: &str, messages: &[Message], tools: bool) -> Result<Conversation, Fault> {
    const SEEN: [&str; 2] = ["messages", "chat_template_kwargs"];
    let none = || Fault::bad("the messages are no JSON; expected texts in Unicode").at("messages");
    let Some(Json::Object(mut request)) = Json::parse(text) else {
        return Err(none());
    };
    request.retain(|key, value| {
        let is_seen = SEEN.contains(&key.as_str()) || (tools && key == "tools");
        is_seen && !is_nothing(value)
    });
    if let Some(Json::Array(all)) = request.get_mut("messages") {
        for (said, message) in all.iter_mut().zip(messages) {
            let checked = serde_json::to_string(message).ok();
            let checked = checked.as_deref().and_then(Json::parse);
            if let (Json::Object(said), Some(Json::Object(checked))) = (said, checked) {
                said.retain(|_, value| !is_nothing(value));
                said.extend(checked);
            }
        }
    }
    let json = Json::Object(request).to_string();
    Conversation::from_json(&json).map_err(|error| Fault::bad(error.to_string()).at("messages"))
}

/// Whether `value` is as good as absent.
fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Plain(word) => word == "null",
        Json::Array(items) => items.is_empty(),
        Json::String(_) | Json::Object(_) => false,
    }
}
