//! A prompt or a conversation with its options, as a line of JSON has it.
//!
//! ```json
//! {"prompt": "Once upon", "id": "a", "seed": 7, "max_tokens": 20, "stop": ["."], "temperature": 0.2}
//! {"messages": [{"role": "user", "content": "Hello"}], "logprobs": 3}
//! ```

use crate::fault::Fault;
use crate::request::{Request, Voice};
use crate::sampling::{Sampling, SamplingError};
use crate::served::{Served, Wanted};
use bise_model::chat::{Conversation, Message};
use bise_model::constraint::Grammar;
use serde_json::{Map, Value};

/// What counts for all rows that do not say otherwise.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens of an answer at most; as many as fit when `None`.
    pub max_tokens: Option<u64>,
    /// Texts that end an answer, besides those of the row.
    pub stops: Vec<String>,
    /// What each answer must follow.
    pub grammar: Option<Grammar>,
    /// Whether an answer goes on after tokens that end a text.
    pub ignore_end: bool,
    /// Log-probabilities, and of how many of the likeliest tokens.
    pub logprobs: Option<usize>,
    /// Whether a prompt is a message, to which the model answers.
    pub chat: bool,
    /// What the model is told before such a message.
    pub system: Option<String>,
    /// How much the model is asked to think in conversations.
    pub reasoning_effort: Option<String>,
}

/// What is to be answered.
#[derive(Clone, Debug)]
pub struct Row {
    /// The number of its answer.
    pub index: u64,
    /// What it calls itself.
    pub id: Option<Value>,
    asked: Result<Asked, Fault>,
}

/// What a row that can be read asks for.
#[derive(Clone, Debug, Default)]
struct Asked {
    prompt: Prompt,
    sampling: Sampling,
    /// `Some(None)` for as many as fit.
    max_tokens: Option<Option<u64>>,
    stops: Vec<String>,
    logprobs: Option<usize>,
    reasoning_effort: Option<String>,
    tools: bool,
}

#[derive(Clone, Debug)]
enum Prompt {
    Text(String),
    /// The JSON of the row, whose numbers are to stay as they are written.
    Messages(String),
}

impl Default for Prompt {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Row {
    /// A prompt without options of its own.
    pub fn prompt(index: u64, text: impl Into<String>) -> Self {
        let prompt = Prompt::Text(text.into());
        let asked = Asked {
            prompt,
            ..Asked::default()
        };
        Self {
            index,
            id: None,
            asked: Ok(asked),
        }
    }

    /// The row of a line of JSON; what is wrong with it becomes its answer.
    pub fn from_json(index: u64, line: &[u8]) -> Self {
        let line = std::str::from_utf8(line).map_err(|error| error.to_string());
        let read = line.and_then(|line| {
            let row = serde_json::from_str::<Value>(line).map_err(|error| error.to_string())?;
            Ok((line, row))
        });
        let (id, asked) = match read {
            Ok((line, Value::Object(row))) => (row.get("id").cloned(), Asked::of(&row, line)),
            Ok(_) => {
                let what = "expected an object with prompt or messages";
                (None, Err(Fault::bad(what)))
            }
            Err(problem) => (None, Err(Fault::bad(format!("not JSON: {problem}")))),
        };
        Self { index, id, asked }
    }

    /// What the scheduler is asked.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub(super) fn request(self, served: &Served, common: &Common) -> Result<Request, Fault> {
        let asked = self.asked?;
        let (prompt, voice) = asked.prompt(served, common)?;
        if prompt.is_empty() {
            let what = "the prompt is empty, and the model has no token to begin a text with";
            return Err(Fault::bad(what).at("prompt"));
        }
        let sampling = asked.sampling.over(&common.sampling);
        let sampling = sampling.and_then(|sampling| sampling.options(&served.tokenizer));
        let mut stops = common.stops.clone();
        stops.extend(asked.stops);
        let wanted = Wanted {
            sampling: sampling.map_err(fault)?,
            grammar: common.grammar.clone(),
            max_tokens: asked.max_tokens.unwrap_or(common.max_tokens),
            stops,
            choices: None,
            logprobs: asked.logprobs.or(common.logprobs),
            ignore_end: common.ignore_end,
            whole: true,
        };
        served.request(prompt, voice, wanted)
    }
}

impl Asked {
    /// What `row` asks for, which `line` has the JSON of.
    fn of(row: &Map<String, Value>, line: &str) -> Result<Self, Fault> {
        let mut asked = Self::default();
        let mut prompts = 0;
        for (key, value) in row {
            let wrong = |what: &str| Fault::bad(format!("{key}: expected {what}")).at(key);
            match (key.as_str(), value) {
                ("id", _) | (_, Value::Null) => {}
                ("prompt", Value::String(text)) => {
                    asked.prompt = Prompt::Text(text.clone());
                    prompts += 1;
                }
                ("prompt", _) => return Err(wrong("a text")),
                ("messages", _) => {
                    asked.prompt = Prompt::Messages(line.to_owned());
                    prompts += 1;
                }
                ("tools", tools) => {
                    asked.tools = tools.as_array().is_some_and(|tools| !tools.is_empty());
                }
                ("reasoning_effort", Value::String(effort)) => {
                    asked.reasoning_effort = Some(effort.clone());
                }
                ("reasoning_effort", _) => return Err(wrong("a text such as \"high\"")),
                ("max_tokens" | "n_predict" | "n", value) => {
                    let tokens = value.as_i64().filter(|&n| n >= -1);
                    let tokens = tokens.ok_or_else(|| wrong("a number of tokens, or -1"))?;
                    asked.max_tokens = Some(u64::try_from(tokens).ok());
                }
                ("logprobs", value) => {
                    let top = value.as_u64().and_then(|n| usize::try_from(n).ok());
                    asked.logprobs = Some(top.ok_or_else(|| wrong("a number of tokens"))?);
                }
                ("stop", Value::String(text)) => asked.stops.push(text.clone()),
                ("stop", Value::Array(texts)) => {
                    let texts = texts.iter().map(|text| text.as_str().map(str::to_owned));
                    let texts: Option<Vec<_>> = texts.collect();
                    asked.stops = texts.ok_or_else(|| wrong("texts"))?;
                }
                ("stop", _) => return Err(wrong("a text, or a list of texts")),
                (_, value) => asked.sampling.set(key, value).map_err(fault)?,
            }
        }
        match prompts {
            1 => Ok(asked),
            0 => Err(Fault::bad("expected prompt, a text, or messages, a list")),
            _ => Err(Fault::bad("expected either prompt or messages, and not both")),
        }
    }

    /// The tokens of the prompt or the conversation, and how what follows is read.
    fn prompt(&self, served: &Served, common: &Common) -> Result<(Vec<u32>, Voice), Fault> {
        let conversation = match &self.prompt {
            Prompt::Text(text) if common.chat => {
                let system = common.system.as_deref().map(Message::system);
                let messages: Vec<_> = system.into_iter().chain([Message::user(text)]).collect();
                Conversation::new(messages, Vec::new())
            }
            Prompt::Text(text) => return Ok((served.text_prompt(text), Voice::Continuation)),
            Prompt::Messages(json) => Conversation::from_json(json)
                .map_err(|error| Fault::bad(format!("messages: {error}")).at("messages"))?,
        };
        let effort = self
            .reasoning_effort
            .as_deref()
            .or(common.reasoning_effort.as_deref());
        let conversation = conversation.with_reasoning_effort(effort);
        let goes_on = conversation.messages().last().is_some_and(Message::is_prefix);
        // A text that follows a grammar is shown to the letter.
        let voice = match goes_on || common.grammar.is_some() {
            true => Voice::Continuation,
            false => Voice::Answer { tools: self.tools },
        };
        Ok((served.chat_prompt(&conversation)?, voice))
    }
}

fn fault(error: SamplingError) -> Fault {
    let name = match &error {
        SamplingError::Unknown { name } | SamplingError::Value { name, .. } => name.clone(),
        SamplingError::Bias { .. } => "logit_bias".to_owned(),
        _ => "samplers".to_owned(),
    };
    Fault::bad(error.to_string()).at(name)
}
