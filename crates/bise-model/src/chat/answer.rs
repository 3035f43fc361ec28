//! What the model answered: thoughts, a text, and calls of tools, told apart by control tokens.

use super::encoder::control_token;
use super::json::Json;
use super::{ChatError, Content, Message, Part, ToolCall, Version};
use crate::tokenizer::Tokenizer;

/// Reads the tokens of an answer as a message. Calls begin with the token `[TOOL_CALLS]`: the same
/// letters in the model's text are text.
pub(super) fn parse(
    version: Option<Version>,
    tokenizer: &Tokenizer,
    ids: &[u32],
) -> Result<Message, ChatError> {
    let ids = until_end(tokenizer, ids);
    let Some(token) =
        control_token(tokenizer, "[TOOL_CALLS]").filter(|_| version != Some(Version::V1))
    else {
        return Ok(Message::assistant(content(tokenizer, ids)));
    };
    let mut parts = ids.split(|&id| id == token);
    let content = content(tokenizer, parts.next().unwrap_or_default());
    let mut tool_calls = Vec::new();
    for part in parts {
        match control_token(tokenizer, "[ARGS]").filter(|args| part.contains(args)) {
            Some(args) => tool_calls.push(named(tokenizer, part, args)?),
            None => listed(&tokenizer.decode(part), &mut tool_calls)?,
        }
    }
    for (i, call) in tool_calls.iter_mut().enumerate() {
        call.id.get_or_insert_with(|| made_id(ids, i));
    }
    Ok(Message::Assistant {
        content,
        tool_calls,
        prefix: false,
    })
}

fn until_end<'i>(tokenizer: &Tokenizer, ids: &'i [u32]) -> &'i [u32] {
    let is_end = |id: &u32| tokenizer.ends().contains(id);
    &ids[..ids.iter().position(is_end).unwrap_or(ids.len())]
}

impl Content {
    /// What the tokens of an answer say and think, up to the end of the sequence. A thought stands
    /// between `[THINK]` and `[/THINK]`, or before a `[/THINK]` if the prompt began it. Calls of
    /// tools are text here.
    pub fn of_answer(tokenizer: &Tokenizer, ids: &[u32]) -> Self {
        content(tokenizer, ids)
    }
}

fn content(tokenizer: &Tokenizer, ids: &[u32]) -> Content {
    let mut parts = Vec::new();
    let mut rest = until_end(tokenizer, ids);
    let mut voice = Voice::new(tokenizer);
    while let Some(first) = rest.first() {
        let thinks = voice.hears(*first);
        let begins = Some(*first) == voice.begin;
        let is_mark = |id: &u32| [voice.begin, voice.end].contains(&Some(*id));
        let from = usize::from(begins);
        let len = rest[from..].iter().position(is_mark).unwrap_or(rest.len() - from);
        let (said, after) = rest[from..].split_at(len);
        let ends = after.first().is_some_and(|&id| Some(id) == voice.end);
        let text = tokenizer.decode(said);
        match thinks || ends {
            true => parts.push(Part::Thinking {
                thinking: text,
                closed: ends,
            }),
            false if !text.is_empty() => parts.push(Part::Text { text }),
            false => {}
        }
        voice.thinks = false;
        rest = &after[usize::from(ends)..];
    }
    parts.into()
}

/// Tells thoughts from the rest of an answer, token by token.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    begin: Option<u32>,
    end: Option<u32>,
    thinks: bool,
    thought: bool,
}

impl Voice {
    /// At the beginning of an answer, in a vocabulary with control tokens for thoughts or without.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            begin: control_token(tokenizer, "[THINK]"),
            end: control_token(tokenizer, "[/THINK]"),
            thinks: false,
            thought: false,
        }
    }

    /// Whether there was a thought.
    pub fn has_thought(&self) -> bool {
        self.thought
    }

    /// Whether `token`, the next one, belongs to a thought. The tokens around a thought do.
    pub fn hears(&mut self, token: u32) -> bool {
        if Some(token) == self.begin {
            self.thinks = true;
        }
        let thinks = self.thinks;
        if Some(token) == self.end {
            self.thinks = false;
        }
        let thinks = thinks || Some(token) == self.end;
        self.thought |= thinks;
        thinks
    }
}

/// `name [CALL_ID] id [ARGS] arguments`; the id may be left out.
fn named(tokenizer: &Tokenizer, part: &[u32], args: u32) -> Result<ToolCall, ChatError> {
    let at = part.iter().position(|&id| id == args).unwrap_or(part.len());
    let (head, arguments) = (&part[..at], tokenizer.decode(&part[at + 1..]));
    let mut head = head.split(|&id| Some(id) == control_token(tokenizer, "[CALL_ID]"));
    let name = tokenizer.decode(head.next().unwrap_or_default());
    let id = head.next().map(|id| tokenizer.decode(id));
    let Some(json) = Json::parse(&arguments) else {
        return Err(ChatError::Answer {
            what: "its arguments are no JSON",
            text: arguments,
        });
    };
    Ok(ToolCall {
        id,
        name: name.trim().to_owned(),
        arguments: json.to_string(),
    })
}

/// `[{"name": ..., "arguments": ..., "id": ...}, ...]`, or one such object.
fn listed(text: &str, calls: &mut Vec<ToolCall>) -> Result<(), ChatError> {
    let fault = |what| ChatError::Answer {
        what,
        text: text.to_owned(),
    };
    let list = match Json::parse(text).ok_or(fault("it is no JSON"))? {
        Json::Array(list) => list,
        one => vec![one],
    };
    for call in list {
        let name = call.get("name").and_then(Json::as_str);
        let arguments = match call.get("arguments") {
            None => "{}".to_owned(),
            Some(Json::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        calls.push(ToolCall {
            id: call.get("id").and_then(Json::as_str).map(str::to_owned),
            name: name.ok_or(fault("a call has no name"))?.to_owned(),
            arguments,
        });
    }
    Ok(())
}

/// An id for a call to which the model gave none: nine digits and letters, made of the answer and
/// the place.
fn made_id(ids: &[u32], place: usize) -> String {
    // FNV-1a over the tokens' bytes.
    let bytes = ids
        .iter()
        .copied()
        .chain([place as u32])
        .flat_map(u32::to_le_bytes);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let digit = |i: u32| char::from_digit((hash / 36u64.pow(i) % 36) as u32, 36);
    (0..9).filter_map(digit).collect()
}
