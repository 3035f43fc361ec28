//! Which conversations a version allows, and the form in which they are encoded.
//!
//! Both follow mistral-common: its validator (in its default mode) and its normalizer.

use std::collections::HashMap;

use super::content::{Content, JOINT};
use super::json::Json;
use super::{ChatError, Message, Tool, ToolCall, Version};

/// Refuses what `version` cannot say.
pub(super) fn validate(
    version: Version,
    messages: &[Message],
    tools: &[Tool],
) -> Result<(), ChatError> {
    let last = messages.last().ok_or(ChatError::Empty)?;
    let alone = messages.len() == 1;
    match last {
        Message::Assistant { prefix: true, .. } if alone => {
            fault(0, last, "a conversation cannot begin with an answer")?;
        }
        Message::Assistant { prefix: false, .. } => {
            fault(
                messages.len() - 1,
                last,
                "an answer cannot be the last message; a user or a tool must speak",
            )?;
        }
        Message::Tool { .. } if alone => {
            fault(0, last, "a conversation cannot begin with a tool's result")?
        }
        _ => {}
    }
    order(messages)?;
    match version {
        Version::V11 | Version::V13 | Version::V15 => pair_by_id(messages)?,
        _ => pair_by_count(messages)?,
    }
    for (i, message) in messages.iter().enumerate() {
        thoughts(version, i, message)?;
        content(version, i, message)?;
        if message.is_prefix() && i + 1 < messages.len() {
            fault(i, message, "only the last message can be a prefix")?;
        }
    }
    some_content(version, messages)?;
    if version < Version::V7 {
        one_kind(version, messages)?;
    }
    if version == Version::V2 {
        one_result(messages)?;
    }
    tools
        .iter()
        .enumerate()
        .try_for_each(|(i, tool)| offered(version, i, tool))
}

fn fault<T>(index: usize, message: &Message, what: impl Into<String>) -> Result<T, ChatError> {
    Err(ChatError::Message {
        number: index + 1,
        role: message.role(),
        what: what.into(),
    })
}

/// Which role may follow which.
fn order(messages: &[Message]) -> Result<(), ChatError> {
    for (i, pair) in messages.windows(2).enumerate() {
        let allowed: &[&str] = match &pair[0] {
            Message::System { .. } | Message::User { .. } => &["system", "user", "assistant"],
            Message::Assistant { .. } | Message::Tool { .. } => &["user", "assistant", "tool"],
        };
        // A tool's result needs a call before it.
        if !allowed.contains(&pair[1].role()) {
            fault(
                i + 1,
                &pair[1],
                format!("cannot follow a message of role {}", pair[0].role()),
            )?;
        }
    }
    Ok(())
}

/// Between one answer and the next there are as many results as the first made calls.
fn pair_by_count(messages: &[Message]) -> Result<(), ChatError> {
    let mut open = 0isize;
    for (i, message) in messages.iter().enumerate().skip(1) {
        match message {
            Message::Tool { .. } => open -= 1,
            Message::Assistant { tool_calls, .. } => {
                if open != 0 {
                    fault(
                        i,
                        message,
                        "before it, there are not as many tool results as tool calls",
                    )?;
                }
                open = tool_calls.len() as isize;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Each result names a call of the last answer, and none is answered twice.
fn pair_by_id(messages: &[Message]) -> Result<(), ChatError> {
    let mut open: HashMap<Option<&str>, bool> = HashMap::new();
    for (i, message) in messages.iter().enumerate().skip(1) {
        match message {
            Message::Tool { call_id, .. } => match open.get_mut(&call_id.as_deref()) {
                None => fault(i, message, format!("there is no open tool call {call_id:?}"))?,
                Some(true) => fault(
                    i,
                    message,
                    format!("the tool call {call_id:?} has its result already"),
                )?,
                Some(answered) => *answered = true,
            },
            Message::Assistant { tool_calls, .. } => {
                if open.values().any(|answered| !answered) {
                    fault(
                        i,
                        message,
                        "before it, there are not as many tool results as tool calls",
                    )?;
                }
                open.clear();
                for call in tool_calls {
                    if open.insert(call.id.as_deref(), false).is_some() {
                        fault(i, message, format!("two tool calls have the id {:?}", call.id))?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Who may think: the model from v13 on, and system prompts of v13 show how.
fn thoughts(version: Version, i: usize, message: &Message) -> Result<(), ChatError> {
    let allowed = match message {
        Message::Assistant { .. } => version >= Version::V13,
        Message::System { .. } => version == Version::V13,
        Message::User { .. } | Message::Tool { .. } => false,
    };
    match message.content().has_thoughts() && !allowed {
        true => fault(
            i,
            message,
            format!("format {version} knows no thoughts in such a message"),
        ),
        false => Ok(()),
    }
}

/// What one message may say.
fn content(version: Version, i: usize, message: &Message) -> Result<(), ChatError> {
    match message {
        Message::System { .. } | Message::User { .. } => Ok(()),
        Message::Assistant {
            content,
            tool_calls,
            ..
        } => {
            if version < Version::V7 && !content.parts().is_empty() && !tool_calls.is_empty() {
                fault(
                    i,
                    message,
                    format!("format {version} allows a text or tool calls, not both"),
                )?;
            }
            if version == Version::V1 && !tool_calls.is_empty() {
                fault(i, message, "format v1 knows no tools")?;
            }
            for call in tool_calls {
                id(version, i, message, call.id.as_deref())?;
                if !is_name(&call.name) {
                    fault(i, message, bad_name(&call.name))?;
                }
            }
            Ok(())
        }
        Message::Tool { call_id, name, .. } => {
            if version == Version::V1 {
                fault(i, message, "format v1 knows no tools")?;
            }
            if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
                fault(i, message, bad_name(name))?;
            }
            id(version, i, message, call_id.as_deref())
        }
    }
}

/// An answer says something; from v7 on it is enough if one of those that follow each other does.
/// Before, one that says it in parts may be empty beside others.
fn some_content(version: Version, messages: &[Message]) -> Result<(), ChatError> {
    let is_empty = |message: &Message| match message {
        Message::Assistant {
            content,
            tool_calls,
            ..
        } => content.is_empty() && tool_calls.is_empty(),
        _ => false,
    };
    let mut end = 0;
    for group in messages.chunk_by(|a, b| a.role() == b.role()) {
        end += group.len();
        let missing = |message: &Message| {
            version < Version::V7 && is_empty(message) && message.content().parts().is_empty()
        };
        if group.iter().all(is_empty) || group.iter().any(missing) {
            fault(end - 1, &group[0], "an answer needs a text or tool calls")?;
        }
    }
    Ok(())
}

/// Ids of calls: any up to v2, nine letters or digits up to v11, any text from v13.
fn id(version: Version, i: usize, message: &Message, id: Option<&str>) -> Result<(), ChatError> {
    let short = |id: &str| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    match version {
        Version::V1 | Version::V2 => Ok(()),
        Version::V13 | Version::V15 if id.is_some_and(|id| !id.is_empty() && id != "null") => {
            Ok(())
        }
        Version::V13 | Version::V15 => fault(i, message, "a tool call needs an id"),
        _ if id.is_some_and(short) => Ok(()),
        _ => fault(
            i,
            message,
            format!("the id of the tool call is {id:?}, expected nine letters or digits"),
        ),
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn bad_name(name: &str) -> String {
    format!("the tool's name is {name:?}, expected at most 64 letters, digits, _ or -")
}

fn offered(version: Version, i: usize, tool: &Tool) -> Result<(), ChatError> {
    let fault = |what: &str| {
        Err(ChatError::Tool {
            number: i + 1,
            name: tool.name.clone(),
            what: what.to_owned(),
        })
    };
    if version == Version::V1 {
        return fault("format v1 knows no tools");
    }
    if !is_name(&tool.name) {
        return fault("expected a name of at most 64 letters, digits, _ or -");
    }
    match tool.parameters.is_object() {
        true => Ok(()),
        false => fault("its parameters are no JSON object"),
    }
}

/// Answers that follow each other become one, of which the same holds: a text or calls.
fn one_kind(version: Version, messages: &[Message]) -> Result<(), ChatError> {
    for (i, pair) in messages.windows(2).enumerate() {
        if let [
            Message::Assistant { tool_calls: a, .. },
            Message::Assistant { tool_calls: b, .. },
        ] = pair
            && a.is_empty() != b.is_empty()
        {
            fault(
                i + 1,
                &pair[1],
                format!("format {version} allows a text or tool calls, not both"),
            )?;
        }
    }
    Ok(())
}

/// v2 writes one result for each answer.
fn one_result(messages: &[Message]) -> Result<(), ChatError> {
    let last_user = messages
        .iter()
        .rposition(|m| matches!(m, Message::User { .. }))
        .unwrap_or(0);
    let (mut calls, mut results) = (false, 0);
    for (i, message) in messages.iter().enumerate().skip(last_user) {
        match message {
            Message::Assistant { tool_calls, .. } => (calls, results) = (!tool_calls.is_empty(), 0),
            Message::Tool { .. } => results += usize::from(calls),
            _ => (calls, results) = (false, 0),
        }
        if results > 1 {
            fault(i, message, "format v2 allows one tool result after an answer")?;
        }
    }
    Ok(())
}

/// The messages as they are encoded, and the system prompt that goes into a user's message, before
/// v7.
///
/// Neighbours of one role become one, arguments of calls get one form, results come in the order of
/// their calls.
pub(super) fn normalize(version: Version, messages: &[Message]) -> (Vec<Message>, Option<String>) {
    let inline = version < Version::V7;
    let mut out: Vec<Message> = Vec::new();
    let mut calls: Vec<Option<String>> = Vec::new();
    for group in messages.chunk_by(|a, b| a.role() == b.role()) {
        match &group[0] {
            Message::User { .. } => out.push(Message::user(joined(version, group))),
            Message::System { .. } if inline => {}
            Message::System { .. } => {
                let each = group.iter().map(std::slice::from_ref);
                out.extend(each.map(|message| Message::system(joined(version, message))));
            }
            Message::Assistant { .. } => {
                let tool_calls: Vec<ToolCall> = group.iter().flat_map(calls_of).collect();
                calls.extend(tool_calls.iter().map(|call| call.id.clone()));
                out.push(Message::Assistant {
                    content: joined(version, group),
                    tool_calls,
                    prefix: group.iter().any(Message::is_prefix),
                });
            }
            Message::Tool { .. } => {
                let first = out.len();
                out.extend(group.iter().map(|message| result(version, message)));
                if version >= Version::V11 {
                    out[first..].sort_by_key(|m| place(&calls, m));
                }
                calls.clear();
            }
        }
    }
    if !inline {
        return (out, None);
    }
    if !matches!(out.first(), Some(Message::User { .. })) {
        out.insert(0, Message::user(""));
    }
    let system = messages.iter().filter(|m| m.role() == "system");
    let system: Vec<_> = system.map(|m| joined(version, std::slice::from_ref(m))).collect();
    let system = Content::join(&system.iter().collect::<Vec<_>>(), JOINT)
        .text()
        .into_owned();
    (out, Some(system).filter(|system| !system.is_empty()))
}

/// What a group of messages says; v15 joins the texts of one message without anything between.
fn joined(version: Version, group: &[Message]) -> Content {
    let joint = if version >= Version::V15 { "" } else { JOINT };
    Content::join(&group.iter().map(Message::content).collect::<Vec<_>>(), joint)
}

/// A tool's result, whose texts are one.
fn result(version: Version, message: &Message) -> Message {
    let mut result = message.clone();
    if let Message::Tool { content, .. } = &mut result {
        *content = joined(version, std::slice::from_ref(message));
    }
    result
}

fn calls_of(message: &Message) -> Vec<ToolCall> {
    match message {
        Message::Assistant { tool_calls, .. } => tool_calls.clone(),
        _ => Vec::new(),
    }
}

/// The place of a result's call among the last calls.
fn place(calls: &[Option<String>], message: &Message) -> usize {
    let Message::Tool { call_id, .. } = message else {
        return usize::MAX;
    };
    calls
        .iter()
        .rposition(|call| call == call_id)
        .unwrap_or(usize::MAX)
}

/// JSON in one form, or a text that is none; no text is an empty object.
pub(super) fn json_content(text: &str) -> Json {
    Json::parse_or_string(if text.is_empty() { "{}" } else { text })
}
