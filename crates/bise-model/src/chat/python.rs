//! Values, filters and tests as Python's Jinja2 and transformers have them, where minijinja has
//! others.

use std::collections::HashMap;
use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::inert::{FIRST_STAND_IN, Inert};
use super::json::{Json, Style};
use super::strings::{Sides, method, strip};

/// A whole number beyond 128 bits, in its digits.
#[derive(Debug)]
struct Digits(String);

impl Object for Digits {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value for templates.
pub(super) fn value_of(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => values.iter().map(value_of).collect(),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), value_of(value))))
        }
        Json::Plain(text) => match text.as_str() {
            "null" => Value::from(()),
            "true" => Value::from(true),
            "false" => Value::from(false),
            "NaN" => Value::from(f64::NAN),
            "Infinity" => Value::from(f64::INFINITY),
            "-Infinity" => Value::from(f64::NEG_INFINITY),
            number if number.contains(['.', 'e']) => {
                Value::from(number.parse().unwrap_or(f64::NAN))
            }
            whole => match whole.parse::<i128>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::from_object(Digits(whole.to_owned())),
            },
        },
    }
}

/// The JSON of a template's value.
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
        kind => match value.downcast_object_ref::<Digits>() {
            Some(Digits(whole)) => Json::Plain(whole.clone()),
            None => {
                let what = format!("tojson: {kind} has no JSON");
                return Err(Error::new(ErrorKind::BadSerialization, what));
            }
        },
    })
}

/// Gives `environment` what transformers give to templates, and Python's ways.
pub(super) fn equip(environment: &mut Environment<'_>, inert: &Arc<Inert>) {
    environment.set_formatter(|out, _, value| match value.as_str() {
        Some(text) => Ok(out.write_str(text)?),
        None => Ok(out.write_str(&text_of(value))?),
    });
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    let stand_ins = inert.originals();
    environment.add_filter("tojson", move |value: &Value, options: Rest<ValueOrKwargs>| {
        let json = json_of(value)?;
        Ok::<_, Error>(json.styled(&style(&options.into_values(), &stand_ins)?))
    });
    environment.add_filter("string", |value: &Value| text_of(value));
    environment.add_filter("int", to_int);
    environment.add_filter("float", to_float);
    for name in ["length", "count"] {
        let inert = inert.clone();
        environment.add_filter(name, move |value: &Value| length(&inert, value));
    }
    let words = inert.clone();
    environment.add_filter("trim", move |value: &Value, set: Option<String>| {
        strip(&words, &text_of(value), set.as_deref(), Sides::Both).to_owned()
    });
    let words = inert.clone();
    environment.add_filter(
        "replace",
        move |state: &mut State, value: &Value, arguments: Rest<Value>| {
            let arguments: Vec<Value> = arguments
                .iter()
                .map(|value| match value.kind() {
                    ValueKind::Number => value.clone(),
                    _ => Value::from(text_of(value)),
                })
                .collect();
            method(&words, state, &Value::from(text_of(value)), "replace", &arguments)
        },
    );
    let words = inert.clone();
    environment.add_filter("title", move |value: &Value| {
        // Brackets begin words.
        let text = words.unmapped(&text_of(value));
        words.mapped(&minijinja::filters::title(text.into()))
    });
    environment.add_test("sequence", |value: &Value| {
        let kind = matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map);
        kind || value.is_undefined()
    });
    let words = inert.clone();
    environment.set_unknown_method_callback(move |state, value, name, arguments| {
        method(&words, state, value, name, arguments)
    });
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, text_of(message)).with_source(Refusal))
}

/// Marks the error of a template that refuses a conversation.
#[derive(Debug, thiserror::Error)]
#[error("raise_exception")]
pub(super) struct Refusal;

fn strftime_now(format: String) -> Result<String, Error> {
    let now = jiff::ZonedDateTime::now();
    let text = jiff::fmt::strtime::format(&format, &now);
    text.map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
}

/// Python's `len`: of a text its characters, of what is undefined none.
fn length(inert: &Inert, value: &Value) -> Result<usize, Error> {
    if let Some(text) = value.as_str() {
        return Ok(inert.characters(text));
    }
    let what = || format!("length: {} has none", value.kind());
    match value.is_undefined() {
        true => Ok(0),
        false => value
            .len()
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, what())),
    }
}

/// A value as Python's `str` writes it: `True`, `None`, `1e-05`, `['a', {'b': 1}]`; nothing for
/// what is undefined.
pub(super) fn text_of(value: &Value) -> String {
    match value.kind() {
        ValueKind::String => value.to_string(),
        ValueKind::Undefined => String::new(),
        _ => repr(value),
    }
}

/// A value as Python's `repr` writes it.
fn repr(value: &Value) -> String {
    let list = |items: Vec<String>, open, close| format!("{open}{}{close}", items.join(", "));
    let items = || value.try_iter().into_iter().flatten();
    match value.kind() {
        ValueKind::String => quoted(value.as_str().unwrap_or_default()),
        ValueKind::Undefined => "Undefined".to_owned(),
        ValueKind::None => "None".to_owned(),
        ValueKind::Bool if value.is_true() => "True".to_owned(),
        ValueKind::Bool => "False".to_owned(),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) if number.is_nan() => "nan".to_owned(),
            Ok(number) if number.is_infinite() => format!("{number}"),
            Ok(number) => Json::from_float(number).to_string(),
            Err(error) => error.to_string(),
        },
        ValueKind::Seq => list(items().map(|item| repr(&item)).collect(), '[', ']'),
        ValueKind::Map => {
            let entry = |key: Value| {
                format!(
                    "{}: {}",
                    repr(&key),
                    repr(&value.get_item(&key).unwrap_or_default())
                )
            };
            list(items().map(entry).collect(), '{', '}')
        }
        _ => value.to_string(),
    }
}

/// A text as Python's `repr` writes it, in the quotes that it has not.
fn quoted(text: &str) -> String {
    use std::fmt::Write;
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c >= FIRST_STAND_IN || is_printable(c) => out.push(c),
            c => {
                let _ = match c as u32 {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
    out
}

/// Whether a character is shown, by what Rust escapes behind a letter.
fn is_printable(c: char) -> bool {
    !format!("a{c}").escape_debug().to_string().ends_with('}') || c == '}'
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

/// The style that the arguments of transformers' `tojson` ask for: `ensure_ascii`, `indent`,
/// `separators`, `sort_keys`, in this order or by name.
fn style(options: &[Value], stand_ins: &HashMap<char, char>) -> Result<Style, Error> {
    const NAMES: [&str; 4] = ["ensure_ascii", "indent", "separators", "sort_keys"];
    /// What a line may begin with for each level.
    const MOST: usize = 16;
    let (placed, named): (&[Value], Kwargs) = from_args(options)?;
    let fault = |what: String| Error::new(ErrorKind::InvalidOperation, format!("tojson: {what}"));
    if placed.len() > NAMES.len() {
        return Err(fault(format!(
            "{} arguments, expected at most {}",
            placed.len(),
            NAMES.len()
        )));
    }
    let mut values = [const { None }; NAMES.len()];
    for ((value, name), place) in values.iter_mut().zip(NAMES).zip(0..) {
        *value = match placed.get(place) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        }
        .filter(|value| !value.is_none());
    }
    named.assert_all_used()?;
    let [ascii, indent, separators, sort] = values;
    let indent = match indent {
        None => None,
        Some(value) if value.as_str().is_some() => {
            Some(value.to_string().chars().take(MOST).collect())
        }
        Some(value) => Some(" ".repeat(i64::try_from(value)?.clamp(0, MOST as i64) as usize)),
    };
    let mut style = Style::new(indent);
    if let Some(separators) = separators {
        let texts: Vec<Value> = separators.try_iter()?.collect();
        let [item, key] = texts.as_slice() else {
            return Err(fault("separators are two texts".to_owned()));
        };
        style.separators = (item.to_string(), key.to_string());
    }
    style.ascii = ascii.is_some_and(|value| value.is_true());
    style.sort = sort.is_some_and(|value| value.is_true());
    style.stand_ins = stand_ins.clone();
    Ok(style)
}
