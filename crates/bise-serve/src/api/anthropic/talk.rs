//! What is said before an answer.

use super::block::{Block, Said};
use super::tool::{Asked, Tool, ToolChoice, named, offered};
use crate::api::openai::number::Whole;
use crate::api::text_or::TextOr;
use crate::api::turns::{Think, Turns, call};
use crate::fault::Fault;
use crate::request::Voice;
use crate::served::Served;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use utoipa::ToSchema;

/// A conversation, and what may be done in the answer.
#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::Talk)]
pub struct Talk {
    model: String,
    /// At least one. An answer at the end goes on.
    #[schema(min_items = 1)]
    messages: Vec<Message>,
    /// What the model should keep to.
    system: Option<TextOr<Said>>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<ToolChoice>,
    thinking: Option<Thinking>,
    output_config: Option<OutputConfig>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::Message)]
struct Message {
    role: Role,
    /// A text, or a list of parts.
    content: TextOr<Block>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = anthropic::Role)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
    System,
}

/// Whether to think.
#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::Thinking)]
struct Thinking {
    r#type: ThinkingType,
    /// Changes nothing: how long a model thinks is its own business.
    #[allow(dead_code)] // is checked to be a number
    #[schema(inline)]
    budget_tokens: Option<Whole<1, { i64::MAX }>>,
    display: Option<Display>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = anthropic::ThinkingType)]
#[serde(rename_all = "snake_case")]
enum ThinkingType {
    Enabled,
    Adaptive,
    BetweenTools,
    Disabled,
}

/// Whether thoughts are shown, which are never summarized.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = anthropic::Display)]
#[serde(rename_all = "lowercase")]
enum Display {
    Summarized,
    Omitted,
}

/// What an answer is like.
#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::OutputConfig)]
struct OutputConfig {
    /// How much to think, where the chat format has words for it.
    effort: Option<String>,
    format: Option<Format>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::Format)]
struct Format {
    #[allow(dead_code)] // there is nothing to choose
    r#type: FormatType,
    #[schema(value_type = Object)]
    schema: Box<RawValue>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = anthropic::FormatType)]
#[serde(rename_all = "snake_case")]
enum FormatType {
    JsonSchema,
}

/// A conversation as the model reads it.
pub struct Read {
    /// Its tokens.
    pub prompt: Vec<u32>,
    /// How the answer is read.
    pub voice: Voice,
    /// What is asked of tools.
    pub tools: Asked,
    /// Whether thoughts are shown: only where they were asked for.
    pub thoughts: bool,
}

impl Talk {
    /// The tokens of the conversation, and what is wanted of the answer.
    ///
    /// # Errors
    /// When the conversation is none, or the chat format does not allow it.
    pub fn read(&self, served: &Served) -> Result<Read, Fault> {
        served.check_name(Some(&self.model))?;
        let mut turns = self.turns()?;
        turns.tools = offered(self.tools.as_deref().unwrap_or_default())?;
        let functions = turns.functions().map_err(named)?;
        let output = self.output_config.as_ref();
        let schema = output.and_then(|output| output.format.as_ref());
        let schema = schema.map(|format| &*format.schema);
        if let Some(schema) = schema.filter(|schema| !schema.get().starts_with('{')) {
            let found = crate::api::openai::number::shown(schema.get());
            let param = "output_config.format.schema";
            let message = format!("{param} is {found}, expected a JSON schema, an object");
            return Err(Fault::bad(message).at(param));
        }
        let tools = Asked::new(served, self.tool_choice.as_ref(), functions, schema)?;
        if !tools.shown {
            turns.tools = None;
        }
        let goes_on = turns.go_on();
        if goes_on && tools.shown {
            let message = "the last message is an answer that goes on, which cannot call tools; \
                           expected tool_choice none, or a user's message";
            return Err(Fault::bad(message).at("messages"));
        }
        let think = self.thinking.as_ref().map(|thinking| match thinking.r#type {
            ThinkingType::Disabled => Think::Off,
            _ => Think::On,
        });
        let effort = output.and_then(|output| output.effort.clone()).map(Think::Effort);
        let usual = |_| turns.prompt(served, think.as_ref());
        let prompt = match &effort {
            Some(effort) => turns.prompt(served, Some(effort)).or_else(usual)?,
            None => turns.prompt(served, think.as_ref())?,
        };
        Ok(Read {
            prompt,
            voice: match goes_on {
                true => Voice::Continuation,
                false => Voice::Answer { tools: tools.shown },
            },
            tools,
            thoughts: self.thinking.as_ref().is_some_and(|thinking| {
                let omitted = thinking.display == Some(Display::Omitted);
                thinking.r#type != ThinkingType::Disabled && !omitted
            }),
        })
    }

    /// The conversation in other words: results of tools are messages of their own.
    fn turns(&self) -> Result<Turns, Fault> {
        let mut turns = Turns::default();
        if let Some(system) = &self.system {
            turns.say("system", &system.text());
        }
        let mut names = HashMap::new();
        for (i, message) in self.messages.iter().enumerate() {
            let said = match (message.role, &message.content) {
                (Role::Assistant, TextOr::List(blocks)) => answer(&mut turns, blocks, &mut names),
                (Role::User, TextOr::List(blocks)) => said(&mut turns, "user", blocks, &names),
                (Role::System, TextOr::List(blocks)) => said(&mut turns, "system", blocks, &names),
                (role, TextOr::Text(text)) => {
                    match role {
                        Role::Assistant => turns.answer("", text, Vec::new()),
                        Role::User => turns.say("user", text),
                        Role::System => turns.say("system", text),
                    }
                    continue;
                }
            };
            said.map_err(|(at, what)| {
                let param = format!("messages[{i}].content[{at}]");
                Fault::bad(format!("{param}: {what}")).at(param)
            })?;
        }
        Ok(turns)
    }
}

/// What is wrong with a part, and which it is.
type Wrong = (usize, &'static str);

/// An answer: what was thought and said, and which tools were called.
fn answer<'b>(
    turns: &mut Turns,
    blocks: &'b [Block],
    names: &mut HashMap<&'b str, &'b str>,
) -> Result<(), Wrong> {
    let (mut thoughts, mut texts, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for (at, block) in blocks.iter().enumerate() {
        match block {
            Block::Thinking { thinking } => thoughts.push(thinking.as_str()),
            Block::Text { text } => texts.push(text.as_str()),
            Block::ToolUse { id, name, input } => {
                names.insert(id.as_str(), name.as_str());
                calls.push(call(id, name, input.get()));
            }
            Block::ToolResult { .. } => {
                return Err((
                    at,
                    "an answer has no tool_result; expected it in a user's message",
                ));
            }
        }
    }
    turns.answer(&thoughts.join("\n\n"), &texts.join("\n\n"), calls);
    Ok(())
}

/// What a user or a system says, and what tools gave back.
fn said(
    turns: &mut Turns,
    role: &str,
    blocks: &[Block],
    names: &HashMap<&str, &str>,
) -> Result<(), Wrong> {
    let mut texts = Vec::new();
    let mut results = false;
    for (at, block) in blocks.iter().enumerate() {
        match block {
            Block::Text { text } => texts.push(text.as_str()),
            Block::ToolResult {
                tool_use_id,
                content,
                is_error,
            } if role == "user" => {
                if !texts.is_empty() {
                    return Err((at, "a tool_result stands behind a text; expected it before"));
                }
                results = true;
                let text = content.as_ref().map_or(String::new(), TextOr::text);
                let text = match is_error {
                    Some(true) => format!("Error: {text}"),
                    _ => text,
                };
                let name = names.get(tool_use_id.as_str()).copied();
                turns.result(Some(tool_use_id), name, &text);
            }
            _ => return Err((at, "only an answer has thoughts and calls of tools")),
        }
    }
    if !texts.is_empty() || !results {
        turns.say(role, &texts.join("\n\n"));
    }
    Ok(())
}
