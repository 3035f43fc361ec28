//! What `/completion` is asked.

use super::prompt::{begin, encode, spell};
use crate::api::openai::number::{Whole, shown};
use crate::api::options::Options;
use crate::api::text_or::TextOr;
use crate::fault::Fault;
use crate::http::body::parse;
use crate::request::{Request, Voice};
use crate::served::{Served, Wanted};
use bise_model::constraint::Grammar;
use bise_model::sampler::{Sampler, SamplerKind, SamplerOptions};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A text that is to go on, and how tokens are chosen.
#[derive(Deserialize, ToSchema)]
#[schema(as = llama_cpp::Described)]
#[allow(dead_code)] // describes the body, whose halves are read one after the other
pub struct Described {
    #[serde(flatten)]
    completion: Completion,
    #[serde(flatten)]
    options: Options,
}

/// A text that is to go on. How tokens are chosen stands beside these fields.
#[derive(Deserialize, ToSchema)]
#[schema(as = llama_cpp::Completion)]
pub struct Completion {
    /// A text, or a list of tokens and texts.
    prompt: TextOr<Part>,
    /// Whether the names of control tokens in texts are these; they are text unless this is true.
    parse_special: Option<bool>,
    /// Whether each piece comes in an event of its own.
    pub stream: Option<bool>,
    /// In llama.cpp's GBNF, or in llguidance's Lark.
    grammar: Option<String>,
    #[schema(value_type = Option<Object>)]
    json_schema: Option<Box<RawValue>>,
    /// Whether the answer goes on after tokens that end a text.
    ignore_eos: Option<bool>,
    /// The steps of a choice, in order.
    samplers: Option<Vec<String>>,
    /// Tokens with what is added to their logits; false for negative infinity.
    #[schema(value_type = Option<Vec<Value>>)]
    logit_bias: Option<Value>,
    /// Of how many of the likeliest tokens log-probabilities are wanted.
    #[schema(inline)]
    n_probs: Option<Whole<0, 100>>,
    /// Whether tokens are wanted, too.
    return_tokens: Option<bool>,
}

/// A part of a prompt.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = llama_cpp::Part)]
#[serde(untagged, expecting = "expected a token or a text")]
enum Part {
    Token(u32),
    Text(String),
}

/// What cannot be had, and the values that ask for nothing.
const ABSENT: [(&str, &[&str]); 14] = [
    ("dynatemp_range", &["0"]),
    ("n_indent", &["0"]),
    ("min_keep", &["0", "1"]),
    ("t_max_predict_ms", &["0", "-1"]),
    ("t_max_prompt_ms", &["0", "-1"]),
    ("n", &["1"]),
    ("n_cmpl", &["1"]),
    ("top_n_sigma", &["0", "-1"]),
    ("post_sampling_probs", &["false"]),
    ("lora", &["[]"]),
    ("image_data", &["[]"]),
    ("response_fields", &["[]"]),
    ("grammar_lazy", &["false"]),
    ("grammar_triggers", &["[]"]),
];

/// A request, and what there is to say of it later.
pub struct Asked {
    pub model: String,
    pub prompt: String,
    pub prompt_tokens: usize,
    pub sampling: SamplerOptions,
    pub most: usize,
    pub tokens: bool,
    pub probabilities: bool,
}

impl Asked {
    /// What `completion` asks of `served`; `text` is the body.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn new(
        served: &Served,
        completion: Completion,
        text: &str,
    ) -> Result<(Self, Request), Fault> {
        refuse_absent(text)?;
        let wanted = completion.wanted(served, text)?;
        let prompt = completion.prompt(served)?;
        let spelled = spell(&served.tokenizer, &prompt);
        let grammar = if completion.json_schema.is_some() {
            "json_schema"
        } else {
            "grammar"
        };
        let mut sampling = wanted.sampling.clone();
        let request = served.request(prompt, Voice::Continuation, wanted);
        let request = request.map_err(|fault| match fault.param.as_deref() {
            Some("response_format") => fault.at(grammar),
            Some("messages") => fault.at("prompt"),
            _ => fault,
        })?;
        sampling.seed = request.samplers.first().map(Sampler::seed);
        let asked = Self {
            model: served.name().to_owned(),
            prompt: spelled,
            prompt_tokens: request.prompt.len(),
            sampling,
            most: request.max_tokens,
            tokens: completion.return_tokens == Some(true),
            probabilities: completion.n_probs.is_some_and(|n| n.0 > 0),
        };
        Ok((asked, request))
    }
}

impl Completion {
    fn wanted(&self, served: &Served, text: &str) -> Result<Wanted, Fault> {
        let mut wanted = parse::<Options>(text)?.wanted(served)?;
        if let Some(names) = &self.samplers {
            let kinds = SamplerKind::parse_list(&names.join(";"));
            wanted.sampling.samplers =
                kinds.map_err(|error| Fault::bad(error.to_string()).at("samplers"))?;
        }
        if let Some(bias) = &self.logit_bias {
            wanted.sampling.logit_bias = biases(bias)?;
        }
        let probabilities = self.n_probs.map_or(0, |n| n.0 as usize);
        let tokens = self.return_tokens == Some(true) || probabilities > 0;
        Ok(Wanted {
            grammar: self.grammar()?,
            ignore_end: self.ignore_eos == Some(true),
            logprobs: tokens.then_some(probabilities),
            ..wanted
        })
    }

    fn grammar(&self) -> Result<Option<Grammar>, Fault> {
        let grammar = self.grammar.as_deref().filter(|grammar| !grammar.is_empty());
        match (grammar, self.json_schema.as_deref().map(RawValue::get)) {
            (None, None) => Ok(None),
            (Some(grammar), None) => Ok(Some(Grammar::from_text(grammar))),
            (None, Some(schema)) => Ok(Some(Grammar::JsonSchema(schema.to_owned()))),
            (Some(_), Some(_)) => {
                let message = "grammar and json_schema are both there, expected one of them";
                Err(Fault::bad(message).at("grammar"))
            }
        }
    }

    /// The tokens of the prompt.
    fn prompt(&self, served: &Served) -> Result<Vec<u32>, Fault> {
        let tokenizer = &served.tokenizer;
        let special = self.parse_special == Some(true);
        let parts = match &self.prompt {
            TextOr::Text(text) => {
                let mut ids = encode(tokenizer, text, special);
                begin(tokenizer, &mut ids);
                return Ok(ids);
            }
            TextOr::List(parts) => parts,
        };
        if parts.len() > 1 && parts.iter().all(|part| matches!(part, Part::Text(_))) {
            let found = parts.len();
            let message = format!(
                "prompt is a list of {found} texts, expected one text: send a request for each"
            );
            return Err(Fault::bad(message).at("prompt"));
        }
        let mut ids = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            match part {
                Part::Token(id) => ids.push(*id),
                Part::Text(text) => {
                    ids.extend(encode(tokenizer, text, special));
                    if i == 0 {
                        begin(tokenizer, &mut ids);
                    }
                }
            }
        }
        Ok(ids)
    }
}

/// Refuses what would change the answer if it could be had.
fn refuse_absent(text: &str) -> Result<(), Fault> {
    let fields: Map<String, Value> = parse(text)?;
    for (name, neutral) in ABSENT {
        let Some(found) = fields.get(name).filter(|found| !found.is_null()) else {
            continue;
        };
        let written = found.to_string();
        let same = |text: &&str| match (found.as_f64(), text.parse::<f64>()) {
            (Some(found), Ok(number)) => found == number,
            _ => written == **text,
        };
        if !neutral.iter().any(same) {
            let found = shown(&written);
            let expected = neutral.join(" or ");
            let message = format!("{name} is {found}, which cannot be had; expected {expected}");
            return Err(Fault::bad(message).at(name));
        }
    }
    Ok(())
}

/// What is added to logits: `[[15043, 1.0], [15044, false]]`, or `{"15043": 1.0}`.
fn biases(given: &Value) -> Result<Vec<(u32, f32)>, Fault> {
    let wrong = |found: &Value| {
        let message = format!(
            "logit_bias has {found}, expected tokens with numbers: [[15043, 1.0], [15044, false]]"
        );
        Fault::bad(message).at("logit_bias")
    };
    let token = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().and_then(|id| u32::try_from(id).ok()),
    };
    let one = |id: &Value, bias: &Value, whole: &Value| {
        let bias = match bias {
            Value::Bool(false) => Some(f32::NEG_INFINITY),
            number => number.as_f64().map(|bias| bias as f32),
        };
        token(id).zip(bias).ok_or_else(|| wrong(whole))
    };
    match given {
        Value::Array(pairs) => {
            let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                Some([id, bias]) => one(id, bias, pair),
                _ => Err(wrong(pair)),
            };
            pairs.iter().map(pair).collect()
        }
        Value::Object(map) => {
            let entry = |(id, bias): (&String, &Value)| one(&id.as_str().into(), bias, given);
            map.iter().map(entry).collect()
        }
        other => Err(wrong(other)),
    }
}
