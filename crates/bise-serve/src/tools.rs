//! Answers that must call tools: grammars in the words in which a model calls them.
//!
//! ```text
//! listed   [TOOL_CALLS][{"name": "f", "arguments": {..}, "id": "abcdefghi"}, ..]   v2 to v7
//! named    [TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{..}[TOOL_CALLS]..                 v11 on
//! ```
//!
//! v2 has no ids, nor have v13 and later ones. Which of them it is, is read off the tokens that the
//! chat format writes for a call: so Jinja templates are understood too.

use crate::fault::Fault;
use crate::served::Served;
use bise_model::chat::{Message, ToolCall};
use bise_model::constraint::Grammar;
use bise_model::tokenizer::{Algorithm, TokenKind};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Tools that a request may offer.
pub const MOST_TOOLS: usize = 128;

/// White space in arguments, as everywhere in JSON that follows a schema: a space, or a line and
/// its indentation. Without a bound a model may write it for ever.
const WHITESPACE: &str = r"\x20|\x0D?\x0A(\x20{0,24}|\x09{0,12})";

/// An id as Mistral's formats have them.
const ID: &str = "/[a-zA-Z0-9]{9}/";

/// A tool that may be called.
#[derive(Clone, Debug)]
pub struct Function {
    /// 1 to 64 letters, digits, `_` or `-`.
    pub name: String,
    /// The JSON schema of its arguments; any object where there is none.
    pub parameters: Option<Value>,
}

/// What an answer consists of.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Calls alone.
    Calls,
    /// Calls, or a text by this JSON schema.
    CallsOr(Value),
}

/// The words that calls stand between.
#[derive(Debug)]
enum Form {
    /// A list of objects after one `[TOOL_CALLS]`.
    Listed { calls: u32, ids: bool },
    /// Each call after a `[TOOL_CALLS]`, its arguments after an `[ARGS]`.
    Named {
        calls: u32,
        id: Option<u32>,
        args: u32,
    },
}

/// Whether `name` is one that a tool may have.
pub fn is_name(name: &str) -> bool {
    let is_fine = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(is_fine)
}

/// An answer that calls one of `functions`, or several where `many` may be called.
///
/// # Errors
/// When the model has no words for calls.
pub fn grammar(
    served: &Served,
    functions: &[Function],
    many: bool,
    wanted: &Wanted,
) -> Result<Grammar, Fault> {
    let Some(form) = form(served) else {
        let name = served.template.describe();
        return Err(Fault::bad(format!(
            "this model has no words for calls of tools (chat format {name}, or a vocabulary \
             without [TOOL_CALLS]), so that it cannot be made to call one; expected tool_choice \
             \"auto\" or \"none\""
        ))
        .at("tool_choice"));
    };
    Ok(Grammar::Lark(lark(served, &form, functions, many, wanted)))
}

/// The fault of a grammar of [`grammar`]: at the function whose schema cannot be followed,
/// `tools[i].function.parameters`, or at all `tools`.
pub fn blame(served: &Served, functions: &[Function], fault: Fault) -> Fault {
    let whose = functions.iter().enumerate().find_map(|(i, function)| {
        let schema = Grammar::JsonSchema(arguments(function).to_string());
        let fault = served.constraints(&schema, 1).err()?;
        Some(fault.at(format!("tools[{i}].function.parameters")))
    });
    whose.unwrap_or(fault.at("tools"))
}

/// How the chat format writes calls; none where it does not by control tokens.
fn form(served: &Served) -> Option<Form> {
    const CALL_ID: &str = "abcdefghi";
    let tokenizer = &served.tokenizer;
    let calls = served.template.tool_calls_token(tokenizer)?;
    let probe = [
        Message::user("?"),
        Message::Assistant {
            content: "".into(),
            tool_calls: vec![ToolCall {
                id: Some(CALL_ID.to_owned()),
                name: "f".to_owned(),
                arguments: "{}".to_owned(),
            }],
            prefix: false,
        },
        Message::Tool {
            content: "1".into(),
            call_id: Some(CALL_ID.to_owned()),
            name: Some("f".to_owned()),
        },
    ];
    let ids = served.template.encode(tokenizer, &probe, &[]).ok()?;
    let call = &ids[ids.iter().position(|&id| id == calls)? + 1..];
    let control = |piece| {
        let id = tokenizer.token(piece)?;
        (tokenizer.kind(id) == Some(TokenKind::Control)).then_some(id)
    };
    let (args, id) = (control("[ARGS]"), control("[CALL_ID]"));
    let belongs = |token: &u32| {
        let is_text = tokenizer.kind(*token) != Some(TokenKind::Control);
        is_text || [args, id].contains(&Some(*token))
    };
    let len = call
        .iter()
        .position(|token| !belongs(token))
        .unwrap_or(call.len());
    let call = &call[..len];
    if let Some(args) = args.filter(|args| call.contains(args)) {
        let id = id.filter(|id| call.contains(id));
        return Some(Form::Named { calls, id, args });
    }
    let written = tokenizer.decode(call);
    written.trim_start().starts_with('[').then(|| Form::Listed {
        calls,
        ids: written.contains(CALL_ID),
    })
}

/// The grammar in llguidance's Lark, where `<[5]>` is a token by its number. A vocabulary of
/// SentencePiece may write a space after such a token.
fn lark(
    served: &Served,
    form: &Form,
    functions: &[Function],
    many: bool,
    wanted: &Wanted,
) -> String {
    let tekken = matches!(served.tokenizer.vocabulary().algorithm, Algorithm::Tekken { .. });
    let sp = if tekken { "" } else { "\" \"?" };
    let one = choice(functions.len());
    let mut lines = match wanted {
        Wanted::Calls => vec!["start: calls".to_owned()],
        Wanted::CallsOr(schema) => vec![
            "start: calls | text".to_owned(),
            format!("text: %json {}", bounded(schema.clone())),
        ],
    };
    match form {
        Form::Listed { calls, .. } => {
            let more = if many { "(\", \" call)*" } else { "" };
            lines.push(format!("calls: <[{calls}]> {sp} \"[\" call {more} \"]\""));
            lines.push(format!("call: {one}"));
        }
        Form::Named { calls, .. } => {
            lines.push(format!("calls: call{}", if many { "+" } else { "" }));
            lines.push(format!("call: <[{calls}]> {sp} ({one})"));
        }
    }
    for (i, function) in functions.iter().enumerate() {
        let schema = bounded(arguments(function));
        let name = &function.name;
        lines.push(match form {
            Form::Listed { ids, .. } => {
                let begin = literal(&format!("{{\"name\": \"{name}\", \"arguments\": "));
                let end = match ids {
                    true => format!("{} {ID} {}", literal(", \"id\": \""), literal("\"}")),
                    false => literal("}"),
                };
                format!("call-{i}: {begin} %json {schema} {end}")
            }
            Form::Named { id, args, .. } => {
                let name = literal(name);
                let id = id.map_or(String::new(), |id| format!("<[{id}]> {sp} {ID} "));
                format!("call-{i}: {name} {id}<[{args}]> {sp} %json {schema}")
            }
        });
    }
    lines.join("\n")
}

/// `call-0 | call-1 | ..`
fn choice(count: usize) -> String {
    let mut choice = String::from("call-0");
    for i in 1..count {
        let _ = write!(choice, " | call-{i}");
    }
    choice
}

/// A text in Lark, which quotes as JSON does.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// The schema of a function's arguments, which are an object.
fn arguments(function: &Function) -> Value {
    const SAYS_WHAT: [&str; 7] = ["type", "$ref", "anyOf", "oneOf", "allOf", "const", "enum"];
    match &function.parameters {
        Some(Value::Object(schema)) if SAYS_WHAT.iter().any(|key| schema.contains_key(*key)) => {
            Value::Object(schema.clone())
        }
        Some(Value::Object(schema)) => {
            let mut schema = schema.clone();
            schema.insert("type".to_owned(), "object".into());
            Value::Object(schema)
        }
        _ => json!({"type": "object"}),
    }
}

/// The schema, with a bound on white space unless it says of itself how that is treated.
fn bounded(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    schema
        .entry("x-guidance")
        .or_insert_with(|| json!({ "whitespace_pattern": WHITESPACE }));
    Value::Object(schema)
}
