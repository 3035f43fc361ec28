//! What Ollama's requests have in common: `model`, `options`, `format`, `think`, `keep_alive`.

use crate::api::openai::number::{Whole, shown, unexpected};
use crate::api::options::Options;
use crate::api::turns::{self, Think};
use crate::fault::Fault;
use crate::http::body::parse;
use crate::served::{Served, Wanted};
use bise_model::constraint::Grammar;
use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Options of the machine, which the server was told when it was started.
const OF_THE_MACHINE: [&str; 13] = [
    "embedding_only",
    "f16_kv",
    "logits_all",
    "low_vram",
    "main_gpu",
    "num_batch",
    "num_gpu",
    "num_keep",
    "num_thread",
    "numa",
    "use_mlock",
    "use_mmap",
    "vocab_only",
];

/// Refuses another model than the one that there is.
pub fn check_name(served: &Served, asked: &str) -> Result<(), Fault> {
    served.check_name(Some(asked)).map_err(|fault| {
        let there = served.names.join(", ");
        let message = format!(
            "model \"{asked}\" not found, this server has {there}; bise serve is started with the \
             model to serve"
        );
        Fault { message, ..fault }
    })
}

/// What `options` asks for, and `format`; `text` is the body.
pub fn wanted(
    served: &Served,
    options: Option<&Options>,
    format: Option<&RawValue>,
    text: &str,
) -> Result<Wanted, Fault> {
    refuse_unknown(text)?;
    let inside = |fault: Fault| match fault.param.clone() {
        Some(name) => Fault {
            message: format!("options.{}", fault.message),
            ..fault.at(format!("options.{name}"))
        },
        None => fault,
    };
    let wanted = options.cloned().unwrap_or_default().wanted(served);
    Ok(Wanted {
        grammar: grammar(format)?,
        ..wanted.map_err(inside)?
    })
}

/// Refuses options that nobody knows: they would be wishes that nobody fulfils.
fn refuse_unknown(text: &str) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Names {
        options: Option<BTreeMap<String, IgnoredAny>>,
    }
    let RefOr::T(Schema::Object(known)) = Options::schema() else {
        return Ok(());
    };
    let names = parse::<Names>(text)?.options.unwrap_or_default();
    let is_known =
        |name: &str| known.properties.contains_key(name) || OF_THE_MACHINE.contains(&name);
    match names.keys().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let all: Vec<&str> = known.properties.keys().map(String::as_str).collect();
            let (name, all) = (shown(name), all.join(", "));
            let message = format!("options has no '{name}', expected one of {all}");
            Err(Fault::bad(message).at(format!("options.{name}")))
        }
    }
}

/// `json`, or a schema.
fn grammar(format: Option<&RawValue>) -> Result<Option<Grammar>, Fault> {
    match format.map(RawValue::get) {
        None | Some("\"\"") => Ok(None),
        Some("\"json\"") => Ok(Some(Grammar::JsonObject)),
        Some(schema) if schema.starts_with('{') => Ok(Some(Grammar::JsonSchema(schema.to_owned()))),
        Some(other) => {
            let found = shown(other);
            let message = format!("format is {found}, expected \"json\" or a JSON schema");
            Err(Fault::bad(message).at("format"))
        }
    }
}

/// Errors of a grammar belong to `format` here.
pub fn at_format(fault: Fault) -> Fault {
    match fault.param.as_deref() {
        Some("response_format") => fault.at("format"),
        _ => fault,
    }
}

/// Whether to think, or how much.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = ollama::Thinking)]
#[serde(
    untagged,
    expecting = "expected true, false, or how much: \"low\", \"medium\", \"high\""
)]
pub enum Thinking {
    /// Whether.
    Whether(bool),
    /// How much.
    Effort(String),
}

impl Thinking {
    /// The same in words of all interfaces.
    pub fn think(&self, served: &Served, model: &str) -> Result<Think, Fault> {
        match self {
            Self::Whether(false) => Ok(Think::Off),
            Self::Whether(true) if !turns::thinks(served) => {
                let message = format!("\"{model}\" does not support thinking; leave think out");
                Err(Fault::bad(message).at("think"))
            }
            Self::Whether(true) => Ok(Think::On),
            Self::Effort(effort) => Ok(Think::Effort(effort.clone())),
        }
    }
}

/// How long a model stays in memory, which is always: seconds, or a text such as `5m`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = ollama::KeepAlive)]
#[serde(
    untagged,
    expecting = "expected a number of seconds, or a text such as \"5m\""
)]
pub enum KeepAlive {
    /// Seconds.
    Seconds(f64),
    /// As Go writes a duration.
    Text(String),
}

/// Refuses images.
pub fn no_images(images: Option<&Vec<IgnoredAny>>, at: &str) -> Result<(), Fault> {
    match images.is_none_or(Vec::is_empty) {
        true => Ok(()),
        false => Err(Fault::bad(format!("{at}: images cannot be read; expected text only")).at(at)),
    }
}

/// For how many of the likeliest tokens log-probabilities are wanted.
pub fn logprobs(wanted: Option<bool>, top: Option<Whole<0, 20>>) -> Result<Option<usize>, Fault> {
    let top = top.map_or(0, |top| top.0 as usize);
    if top > 0 && wanted != Some(true) {
        let message = format!("top_logprobs is {top}, and logprobs is not true; expected both");
        return Err(Fault::bad(message).at("logprobs"));
    }
    Ok((wanted == Some(true)).then_some(top))
}

/// Arguments of a call, an object.
pub fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    match Option::<Box<RawValue>>::deserialize(deserializer)? {
        Some(json) if !json.get().starts_with('{') => Err(unexpected(&json, "expected an object")),
        written => Ok(written),
    }
}
