//! Chat templates in Jinja, as GGUF files and Hugging Face directories carry them.
//!
//! A template renders a text, whose structure is written in the words of control tokens. Messages are made inert
//! before ([`inert`](super::inert)), so that these words are the template's own: the text is cut at them, and what
//! lies between is tokenized as text.
//!
//! A template therefore does not see brackets in messages: it cannot find `</think>` in an answer, for one.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde_json::{Value as Plain, json};

use super::inert::Inert;
use super::json::Json;
use super::{ChatError, Message, Tool};
use crate::tokenizer::Tokenizer;

/// The name that errors call a template by.
const NAME: &str = "chat_template";

/// Steps after which a template is stopped; the known ones need a few hundred for a message.
const FUEL: u64 = 10_000_000;

/// A Jinja template, compiled.
///
/// It sees what Hugging Face's transformers give to templates: `messages`, `tools`, `bos_token`, `eos_token`,
/// `add_generation_prompt`, `raise_exception`, `strftime_now`, and `tojson` as Python writes it.
#[derive(Debug, Clone)]
pub struct Jinja {
    environment: Arc<Environment<'static>>,
    source: String,
}

impl Jinja {
    /// Compiles a template.
    ///
    /// # Errors
    /// When it is malformed; the error names the line.
    pub fn new(source: String) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| ChatError::Jinja(error.to_string()))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_filter("string", to_text);
        environment.add_filter("int", to_int);
        environment.add_filter("float", to_float);
        environment
            .add_template_owned(NAME, join_lines(&source))
            .map_err(|error| ChatError::Jinja(error.to_string()))?;
        Ok(Self {
            environment: Arc::new(environment),
            source,
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        tools: &[Tool],
    ) -> Result<Vec<u32>, ChatError> {
        if messages.is_empty() {
            return Err(ChatError::Empty);
        }
        let mut messages = Plain::Array(messages.iter().map(message_value).collect());
        let mut tools = Plain::Array(tools.iter().map(tool_value).collect());
        let inert = Inert::new(tokenizer, &self.source, [&messages, &tools]);
        inert.disarm_messages(&mut messages);
        inert.disarm_tools(&mut tools);
        let rendered = self.render(tokenizer, &messages, &tools);
        let rendered = rendered.map_err(|error| ChatError::Jinja(inert.restore(&error.to_string())))?;

        let vocabulary = tokenizer.vocabulary();
        let mut ids = Vec::new();
        inert.control.split(&rendered, |part| match part {
            Ok(id) => ids.push(id),
            Err(text) => ids.extend(encode_between(tokenizer, &inert.restore(text))),
        });
        if let Some(bos) = vocabulary
            .bos
            .filter(|bos| vocabulary.add_bos && ids.first() != Some(bos))
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    fn render(&self, tokenizer: &Tokenizer, messages: &Plain, tools: &Plain) -> Result<String, Error> {
        let vocabulary = tokenizer.vocabulary();
        let piece = |id: Option<u32>| id.map_or("", |id| tokenizer.piece(id));
        let tools = match tools.as_array().is_some_and(|tools| tools.is_empty()) {
            true => Value::from(()),
            false => Value::from(Serde(tools)),
        };
        self.environment.get_template(NAME)?.render(context! {
            messages => Value::from(Serde(messages)),
            tools => tools,
            bos_token => piece(vocabulary.bos),
            eos_token => piece(vocabulary.eos),
            add_generation_prompt => true,
        })
    }
}

/// A backslash at the end of a line joins it with the next inside a text of the template's, as in Python.
fn join_lines(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let (mut rest, mut in_tag, mut quote) = (source, false, None);
    while let Some(c) = rest.chars().next() {
        let pair = rest.get(..2).unwrap_or_default();
        let taken = match (quote, pair) {
            (Some(_), "\\\n") => {
                rest = &rest[2..];
                continue;
            }
            (Some(_), _) if c == '\\' => pair.len().max(1),
            (Some(end), _) => {
                quote = Some(end).filter(|&end| end != c);
                c.len_utf8()
            }
            (None, "{#") => rest.find("#}").map_or(rest.len(), |at| at + 2),
            (None, _) => {
                in_tag = (in_tag || ["{{", "{%"].contains(&pair)) && !["}}", "%}"].contains(&pair);
                quote = Some(c).filter(|c| in_tag && "'\"".contains(*c));
                c.len_utf8()
            }
        };
        let (copied, after) = rest.split_at(taken);
        out.push_str(copied);
        rest = after;
    }
    out
}

/// The tokens of text between control tokens. Where the template writes the space that a SentencePiece vocabulary
/// puts in front of text, there is no other.
fn encode_between(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let written = text
        .strip_prefix(' ')
        .filter(|_| tokenizer.vocabulary().add_space_prefix);
    tokenizer.encode(written.unwrap_or(text).as_bytes())
}

/// A message as transformers give it to templates.
fn message_value(message: &Message) -> Plain {
    let mut value = json!({ "role": message.role(), "content": message.text() });
    match message {
        Message::Assistant { tool_calls, .. } if !tool_calls.is_empty() => {
            let calls = tool_calls.iter().map(|call| {
                let arguments = serde_json::from_str(&call.arguments)
                    .ok()
                    .filter(Plain::is_object);
                let arguments = arguments.unwrap_or_else(|| call.arguments.clone().into());
                let function = json!({ "name": call.name, "arguments": arguments });
                json!({ "id": call.id, "type": "function", "function": function })
            });
            value["tool_calls"] = calls.collect();
        }
        Message::Tool { call_id, name, .. } => {
            for (key, text) in [("tool_call_id", call_id), ("name", name)] {
                if let Some(text) = text {
                    value[key] = text.as_str().into();
                }
            }
        }
        _ => {}
    }
    value
}

fn tool_value(tool: &Tool) -> Plain {
    let Tool {
        name,
        description,
        parameters,
    } = tool;
    let function = json!({ "name": name, "description": description, "parameters": parameters });
    json!({ "type": "function", "function": function })
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> Result<String, Error> {
    let now = jiff::ZonedDateTime::now();
    let text = jiff::fmt::strtime::format(&format, &now);
    text.map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
}

/// `string` as in Python: `True`, `None`, `1e-05`.
fn to_text(value: Value) -> String {
    match value.kind() {
        ValueKind::None => "None".to_owned(),
        ValueKind::Bool if value.is_true() => "True".to_owned(),
        ValueKind::Bool => "False".to_owned(),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value) {
            Ok(number) => Json::from_float(number).to_string(),
            Err(error) => error.to_string(),
        },
        _ => value.to_string(),
    }
}

/// `int` as in Python's Jinja: what is no number is the default.
fn to_int(value: Value, default: Option<Value>) -> Value {
    let number = match value.as_str() {
        Some(text) => text
            .trim()
            .parse::<i128>()
            .map(Value::from)
            .ok()
            .or_else(|| truncated(parse_float(text)?)),
        None => value
            .clone()
            .try_into()
            .map(i128::into)
            .ok()
            .or_else(|| truncated(value.clone().try_into().ok()?)),
    };
    number.or(default).unwrap_or_else(|| Value::from(0))
}

fn truncated(number: f64) -> Option<Value> {
    number.is_finite().then(|| Value::from(number as i128))
}

/// `float` as in Python's Jinja.
fn to_float(value: Value, default: Option<Value>) -> Value {
    let number = match value.as_str() {
        Some(text) => parse_float(text),
        None => value.try_into().ok(),
    };
    number
        .map(Value::from)
        .or(default)
        .unwrap_or_else(|| Value::from(0.0))
}

fn parse_float(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// `tojson` as transformers have it: Python's spaces, nothing escaped for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    if options.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "tojson: ensure_ascii is not supported",
        ));
    }
    options.assert_all_used()?;
    let json = json_of(&value)?;
    Ok(Value::from_safe_string(match indent {
        Some(indent) => json.indented(indent.min(16)),
        None => json.to_string(),
    }))
}

fn json_of(value: &Value) -> Result<Json, Error> {
    Ok(match value.kind() {
        ValueKind::None => Json::Plain("null".to_owned()),
        ValueKind::Bool => Json::Plain(value.is_true().to_string()),
        ValueKind::Number => match i128::try_from(value.clone()) {
            Ok(whole) if value.is_integer() => Json::Plain(whole.to_string()),
            _ => Json::from_float(f64::try_from(value.clone())?),
        },
        ValueKind::String => Json::String(value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => Json::Array(
            value
                .try_iter()?
                .map(|value| json_of(&value))
                .collect::<Result<_, _>>()?,
        ),
        ValueKind::Map => {
            let entry = |key: Value| Ok((key.to_string(), json_of(&value.get_item(&key)?)?));
            Json::Object(value.try_iter()?.map(entry).collect::<Result<_, Error>>()?)
        }
        kind => {
            let what = format!("tojson: {kind} has no JSON");
            return Err(Error::new(ErrorKind::BadSerialization, what));
        }
    })
}
