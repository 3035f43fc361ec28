//! The text on standard output, plain or as JSON.

use super::stats::Stats;
use bise_model::sampler::{Logprobs, Observer};
use bise_model::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, Sender};

/// How the text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// One JSON object at the end.
    Json,
    /// A JSON object for each token, and one at the end, in lines of their own.
    JsonLines,
}

/// Standard output, flushed at every piece of text; remembers the first error.
pub struct Output<'t> {
    form: Form,
    tokenizer: &'t Tokenizer,
    out: io::Stdout,
    error: Option<io::Error>,
    /// The prompt, until something follows it: while it is read there may be a bar.
    prompt: String,
    text: String,
    reasoning: String,
    /// Whether a thought was shown last.
    thinking: bool,
    tokens: Vec<u32>,
    logprobs: Option<Receiver<Logprobs>>,
    collected: Vec<Value>,
}

/// What the last JSON object says.
pub struct End<'a> {
    pub prompt: Option<&'a str>,
    pub reason: &'a str,
    pub stop_text: Option<&'a str>,
    /// The token that ended the text, and those that could have.
    pub end_token: Option<u32>,
    pub end_tokens: &'a [u32],
    pub seed: u64,
    pub stats: &'a Stats,
}

impl<'t> Output<'t> {
    pub fn new(form: Form, tokenizer: &'t Tokenizer, logprobs: Option<Receiver<Logprobs>>) -> Self {
        Self {
            form,
            tokenizer,
            out: io::stdout(),
            error: None,
            prompt: String::new(),
            text: String::new(),
            reasoning: String::new(),
            thinking: false,
            tokens: Vec::new(),
            logprobs,
            collected: Vec::new(),
        }
    }

    /// Writes the prompt in front of the text.
    pub fn prompt(&mut self, text: &str) {
        if self.form == Form::Plain {
            text.clone_into(&mut self.prompt);
        }
    }

    /// A token was made, which makes `text` certain.
    pub fn token(&mut self, token: u32, text: &str) {
        if self.form == Form::Plain {
            if self.thinking && !text.is_empty() {
                self.thinking = false;
                think("\n");
            }
            return self.write(text);
        }
        self.text
            .push_str(if self.form == Form::Json { text } else { "" });
        self.record(token, "text", text);
    }

    /// A token of a thought was made: shown apart, where notes are.
    pub fn thought(&mut self, token: u32, text: &str) {
        if self.form == Form::Plain {
            self.thinking |= !text.is_empty();
            return think(text);
        }
        self.reasoning.push_str(text);
        self.record(token, "reasoning", text);
    }

    fn record(&mut self, token: u32, key: &str, text: &str) {
        let logprobs = self
            .logprobs
            .as_ref()
            .and_then(|l| l.try_recv().ok())
            .map(|l| self.logprobs_json(&l));
        if self.form == Form::Json {
            self.tokens.push(token);
            self.collected.extend(logprobs);
            return;
        }
        let mut line =
            Map::from_iter([("token".to_owned(), token.into()), (key.to_owned(), text.into())]);
        line.extend(logprobs.map(|l| ("logprobs".to_owned(), l)));
        self.line(&Value::Object(line));
    }

    /// The text ends with `rest`.
    pub fn finish(&mut self, rest: &str, end: &End<'_>) {
        if self.form == Form::Plain {
            self.write(rest);
            return self.write("\n");
        }
        let mut result = Map::new();
        let mut put = |key: &str, value: Value| result.insert(key.to_owned(), value);
        if let Some(prompt) = end.prompt {
            put("prompt", prompt.into());
        }
        if self.form == Form::Json {
            self.text.push_str(rest);
            put("text", std::mem::take(&mut self.text).into());
            put("tokens", std::mem::take(&mut self.tokens).into());
            if self.logprobs.is_some() {
                put("logprobs", std::mem::take(&mut self.collected).into());
            }
        } else {
            put("text", rest.into());
        }
        if !self.reasoning.is_empty() {
            put("reasoning", std::mem::take(&mut self.reasoning).into());
        }
        put("stop_reason", end.reason.into());
        if let Some(text) = end.stop_text {
            put("stop_text", text.into());
        }
        let named = |id: u32| json!({ "id": id, "piece": self.tokenizer.piece(id) });
        if let Some(id) = end.end_token {
            put("end_token", named(id));
        }
        put("end_tokens", end.end_tokens.iter().map(|&id| named(id)).collect());
        put("seed", end.seed.into());
        put("timings", end.stats.json());
        self.line(&Value::Object(result));
    }

    /// The first error of writing.
    pub fn error(self) -> Option<io::Error> {
        self.error
    }

    /// Whether nothing can be written any more.
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    fn logprobs_json(&self, logprobs: &Logprobs) -> Value {
        let one = |token: u32, logprob: f64| {
            let text = String::from_utf8_lossy(&self.tokenizer.bytes(token)).into_owned();
            json!({ "token": token, "text": text, "logprob": logprob })
        };
        let mut object = one(logprobs.token, logprobs.logprob);
        object["top"] = logprobs
            .top
            .iter()
            .map(|&(token, logprob)| one(token, logprob))
            .collect();
        object
    }

    fn line(&mut self, value: &Value) {
        self.write(&format!("{value}\n"));
    }

    fn write(&mut self, text: &str) {
        if self.error.is_none() && !text.is_empty() {
            let prompt = std::mem::take(&mut self.prompt);
            let written = self
                .out
                .write_all(prompt.as_bytes())
                .and_then(|()| self.out.write_all(text.as_bytes()))
                .and_then(|()| self.out.flush());
            self.error = written.err();
        }
    }
}

/// Shows a piece of a thought on standard error, dimmed on a terminal.
fn think(text: &str) {
    if text.is_empty() {
        return;
    }
    let mut out = io::stderr().lock();
    // When nobody listens, there is nobody to tell.
    let _ = match out.is_terminal() {
        true => write!(out, "\x1b[2m{text}\x1b[0m"),
        false => write!(out, "{text}"),
    };
}

/// Sends the probabilities of each token that is drawn.
#[derive(Debug)]
pub struct LogprobsSender {
    pub n: usize,
    pub to: Sender<Logprobs>,
}

impl Observer for LogprobsSender {
    fn drawn(&mut self, logits: &[f32], token: u32) {
        // Nobody listens any more once the output has ended.
        let _ = self.to.send(Logprobs::of(logits, token, self.n));
    }
}
