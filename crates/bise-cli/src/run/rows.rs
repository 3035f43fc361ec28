//! `bise run --input-jsonl`: many prompts in one process, each a line of JSON, each answered by a
//! line of JSON.
//!
//! ```json
//! {"prompt": "Once upon", "id": "a", "seed": 7, "max_tokens": 20, "stop": ["."], "temperature": 0.2}
//! {"messages": [{"role": "user", "content": "Hello"}]}
//! ```
//!
//! What a line gives depends on the line and the options alone, not on the lines before it. Lines
//! that have their results in the output file already are not done again.

use super::args::Args;
use super::results::Results;
use crate::constraint::Table;
use crate::interrupt::Interrupt;
use crate::messages::note;
use crate::outcome::Outcome;
use crate::progress::Bar;
use crate::runtime;
use crate::sampling::Sampling;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bise_model::StopTexts;
use bise_model::chat::{Conversation, Message, Template};
use bise_model::sampler::Mask;
use bise_model::tokenizer::{Detokenizer, Tokenizer};
use bise_model::{ForwardError, GenerateError, Limits, Model, Session, Stop};
use clap::Parser;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;

/// Sampling options of a line, by their names on the command line.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Given {
    #[command(flatten)]
    sampling: Sampling,
}

/// Answers all lines of the file `input`.
pub fn run(args: &Args, input: &Path) -> Result<Outcome> {
    let mut results = Results::open(args.rows.output_jsonl.as_deref(), &args.inputs())?;
    let mut lines: Box<dyn BufRead> = match input.as_os_str() == "-" {
        true => Box::new(BufReader::new(io::stdin())),
        false => {
            let file =
                File::open(input).map_err(|error| anyhow!("{}: {error}", input.display()))?;
            Box::new(BufReader::new(file))
        }
    };
    let model = args.runtime.open(args.which.path())?;
    let tokenizer = runtime::tokenizer(&model, args.which.path())?;
    let draft = args.drafts.model(&args.runtime)?;
    let interrupt = Interrupt::listen();
    let mut session = args.drafts.session(&model, draft.as_ref(), &args.runtime)?;
    // The bar has ended: what is watched is only whether to stop.
    let bar = Bar::tokens("reading", 0);
    bar.end();
    session.watch_progress(Some(bar.watch_reading(&interrupt)));
    let mut work = Work {
        args,
        model: &model,
        tokenizer: &tokenizer,
        session,
        table: Table::default(),
        template: None,
    };
    let threads = args.runtime.threads()?;
    let (mut line, mut wrong) = (Vec::new(), 0);
    for index in 0.. {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        if read.with_context(|| format!("cannot read {}", input.display()))? == 0 {
            break;
        }
        let row = serde_json::from_slice::<Value>(&line);
        let id = row.as_ref().ok().and_then(|row| row.get("id")).cloned();
        if line.trim_ascii().is_empty() || results.has(index, id.as_ref())? {
            continue;
        }
        let made = match row {
            Ok(row) => threads.run(|| work.answer(&row, &line, &interrupt)),
            Err(error) => Err(anyhow!("not JSON: {error}")),
        };
        if interrupt.pressed() {
            return Ok(Outcome::Interrupted);
        }
        let made = made.unwrap_or_else(|error| {
            wrong += 1;
            Map::from_iter([("error".to_owned(), format!("{error:#}").into())])
        });
        results.add(index, id, made)?;
    }
    if wrong > 0 {
        note(format_args!("{wrong} lines have an error in place of a text"));
    }
    Ok(Outcome::Done)
}

/// What all lines share.
struct Work<'m, 'a> {
    args: &'a Args,
    model: &'m Model,
    tokenizer: &'m Tokenizer,
    session: Session,
    table: Table,
    template: Option<Template>,
}

impl Work<'_, '_> {
    /// The result of a row, which is a `line`.
    fn answer(
        &mut self,
        row: &Value,
        line: &[u8],
        interrupt: &Interrupt,
    ) -> Result<Map<String, Value>> {
        let Value::Object(row) = row else {
            bail!("expected an object with prompt or messages");
        };
        let options = Options::of(row, self.args)?;
        let (tokens, answers) = self.tokens(row, line)?;
        ensure!(
            !tokens.is_empty(),
            "the prompt is empty, and the model has no token to begin a text with"
        );
        let mut sampler = options.sampling.sampler(self.tokenizer)?;
        let asked = self.args.constraints.asked()?;
        if let Some(asked) = &asked {
            let mut constraint = asked.constraint(self.table.of(self.tokenizer)?)?;
            constraint.begin(tokens.len())?;
            sampler.set_mask(Some(Box::new(constraint) as Box<dyn Mask>));
        }
        let mut pieces = match answers && asked.is_none() {
            true => Detokenizer::new(self.tokenizer),
            false => Detokenizer::continuing(self.tokenizer),
        };
        let mut stops = StopTexts::new(&options.stop);
        let end = if self.args.ignore_eos {
            &[]
        } else {
            self.tokenizer.ends()
        };
        self.session.keep_common(&tokens);
        self.session.append(&tokens[self.session.len()..]);
        let limits = Limits {
            max_tokens: options.most,
            end,
        };
        let (mut text, mut made) = (String::new(), 0);
        let stop = self.session.generate(&[], limits, &mut sampler, |token| {
            made += 1;
            text.push_str(&stops.push(pieces.push(token)));
            match stops.found().is_some() || interrupt.pressed() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        text.push_str(&stops.push(pieces.finish()));
        text.push_str(&stops.finish());
        let reason = match stop {
            _ if stops.found().is_some() => "stop",
            Ok(Stop::EndOfText) => "end",
            // A full context is a limit on the text, unless the prompt alone fills it.
            Err(GenerateError::Forward(ForwardError::ContextFull { .. })) if made > 0 => "length",
            Ok(Stop::Length | Stop::Asked) => "length",
            Err(error) => return Err(error.into()),
        };
        let result = json!({
            "text": text, "stop_reason": reason, "prompt_tokens": tokens.len(), "tokens": made, "seed": sampler.seed(),
        });
        match result {
            Value::Object(result) => Ok(result),
            _ => unreachable!("made as an object"),
        }
    }

    /// The tokens of the prompt or the conversation; and whether what follows is an answer.
    fn tokens(&mut self, row: &Map<String, Value>, line: &[u8]) -> Result<(Vec<u32>, bool)> {
        let chat = &self.args.chat_options;
        let conversation = match (row.get("prompt"), row.get("messages")) {
            (Some(Value::String(text)), None) if chat.chat => {
                let system = chat.system.as_deref().map(Message::system);
                let messages: Vec<_> = system.into_iter().chain([Message::user(text)]).collect();
                Conversation::new(messages, Vec::new())
            }
            (Some(Value::String(text)), None) => {
                return Ok((self.tokenizer.encode_prompt(text.as_bytes()), false));
            }
            (Some(_), None) => bail!("prompt: expected a string"),
            (None, Some(_)) => {
                Conversation::from_json(std::str::from_utf8(line)?).context("messages")?
            }
            (Some(_), Some(_)) => bail!("expected either prompt or messages, and not both"),
            (None, None) => bail!("expected prompt, a string, or messages, a list"),
        };
        if self.template.is_none() {
            let (named, path) = (chat.template.as_deref(), self.args.which.path());
            let template = runtime::template(named, path, self.model.metadata(), self.tokenizer)?;
            self.template = Some(template);
        }
        let template = self.template.as_ref().expect("just made");
        Ok((template.encode_conversation(self.tokenizer, &conversation)?, true))
    }
}

/// The options of a line.
struct Options {
    sampling: Sampling,
    stop: Vec<String>,
    most: usize,
}

impl Options {
    /// Those of `row`, and where it says nothing, those of the command line.
    fn of(row: &Map<String, Value>, args: &Args) -> Result<Self> {
        let (mut words, mut stop) = (Vec::new(), args.stop.clone());
        let mut most = usize::try_from(args.n).unwrap_or(usize::MAX);
        for (key, value) in row {
            match (key.as_str(), value) {
                ("id" | "prompt" | "messages" | "tools", _) => {}
                (_, Value::Null) => {}
                ("max_tokens" | "n_predict" | "n", value) => {
                    let tokens = value.as_i64().filter(|&n| n >= -1);
                    let tokens = tokens
                        .with_context(|| format!("{key}: expected a number of tokens, or -1"))?;
                    most = usize::try_from(tokens).unwrap_or(usize::MAX);
                }
                ("stop", Value::String(text)) => stop.push(text.clone()),
                ("stop", Value::Array(texts)) => {
                    for text in texts {
                        stop.push(text.as_str().context("stop: expected texts")?.to_owned());
                    }
                }
                (_, Value::Number(value)) => {
                    words.push(format!("--{}={value}", key.replace('_', "-")))
                }
                (_, Value::String(value)) => {
                    words.push(format!("--{}={value}", key.replace('_', "-")))
                }
                _ => bail!("{key}: expected a number or a text"),
            }
        }
        let given = Given::try_parse_from(words).map_err(|error| {
            let reason = error.to_string();
            anyhow!(
                "{}",
                reason
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
            )
        })?;
        Ok(Self {
            sampling: given.sampling.over(&args.sampling)?,
            stop,
            most,
        })
    }
}
