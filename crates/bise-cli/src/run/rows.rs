//! `bise run --input-jsonl`: many prompts in one process, each a line of JSON, each answered by a
//! line of JSON, in their order.
//!
//! They are answered together, as a server's requests are ([`bise_serve::batch`]). What a line gives
//! depends on the line and the options alone, not on its company. Lines that have their results in
//! the output file already are not done again.

use super::args::Args;
use super::results::Results;
use super::stats::Many;
use crate::interrupt::Interrupt;
use crate::messages::{note, say};
use crate::outcome::Outcome;
use crate::runtime;
use anyhow::{Context as _, Result, anyhow};
use bise_model::sampler::SamplerOptions;
use bise_serve::batch::{Answer, Batch, Common, Row};
use bise_serve::request::Pooling;
use bise_serve::scheduler::SchedulerOptions;
use bise_serve::{Served, ServedOptions};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

/// How often it is looked whether there is a new line, or a signal.
const LOOK: Duration = Duration::from_millis(10);
/// Lines that are read ahead.
const AHEAD: usize = 64;

/// Answers all lines of the file `input`.
pub fn run(args: &Args, input: &Path) -> Result<Outcome> {
    let common = common(args)?;
    let mut results = Results::open(args.rows.output_jsonl.as_deref(), &args.inputs())?;
    let mut lines = Lines::open(input)?;
    let served = Arc::new(served(args)?);
    let interrupt = Interrupt::listen();
    let mut batch = Batch::new(served.clone(), common).map_err(|fault| {
        let grammar = args.constraints.asked().ok().flatten();
        anyhow!(fault).context(grammar.map_or("the rows".to_owned(), |grammar| grammar.name))
    })?;
    let mut many = Many::start();
    while !interrupt.pressed() {
        while batch.has_room()
            && let Some((index, line)) = lines.next()
        {
            let row = Row::from_json(index, &line);
            if !line.trim_ascii().is_empty() && !results.has(index, row.id.as_ref())? {
                batch.push(row);
            }
        }
        if batch.is_empty() && lines.ended {
            break;
        }
        match batch.next_within(LOOK) {
            Some(answer) => {
                many.count(&answer);
                let made = answer.to_json();
                let Answer { index, id, .. } = answer;
                results.add(index, id, made)?;
            }
            None if batch.is_empty() => lines.wait(),
            None => {}
        }
    }
    drop(batch);
    let known = served.scheduler.load().cached_tokens;
    served.scheduler.stop();
    if args.shown.stats {
        say(many.line(known));
    }
    if interrupt.pressed() {
        return Ok(Outcome::Interrupted);
    }
    if many.wrong > 0 {
        note(format_args!(
            "{} lines have an error in place of a text",
            many.wrong
        ));
    }
    match lines.problem {
        Some(problem) => Err(problem).with_context(|| format!("cannot read {}", input.display())),
        None => Ok(Outcome::Done),
    }
}

/// What counts where a line says nothing.
fn common(args: &Args) -> Result<Common> {
    let chat = &args.chat_options;
    Ok(Common {
        sampling: args.sampling.given()?,
        max_tokens: u64::try_from(args.n).ok(),
        stops: args.stop.clone(),
        grammar: args.constraints.asked()?.map(|asked| asked.grammar),
        ignore_end: args.ignore_eos,
        logprobs: None,
        chat: chat.chat,
        system: chat.system.clone(),
        reasoning_effort: chat.reasoning_effort.clone(),
    })
}

/// The model, which answers many lines at a time.
fn served(args: &Args) -> Result<Served> {
    let (path, named) = (args.which.path(), args.chat_options.template.as_deref());
    let (runtime, together) = (&args.runtime, &args.rows.together);
    let model = runtime.open(path)?;
    let tokenizer = runtime::tokenizer_for(&model, path, named)?;
    let template = match runtime::template(named, path, model.metadata(), &tokenizer) {
        // What was asked for has to work.
        Err(problem) if named.is_some() => return Err(problem),
        template => template.map_err(|problem| format!("{problem:#}")),
    };
    runtime.note_window(model.config());
    let (engine, context) = together.engine(runtime, &model)?;
    // A window in each layer lets any number of tokens through.
    let any = model.config().sliding_window().map(|_| usize::MAX);
    let options = ServedOptions {
        names: Vec::new(),
        template,
        pooling: Pooling::Last,
        engine,
        scheduler: SchedulerOptions {
            sequences: together.sequences(),
            queue: 2 * together.sequences(),
            context: any.unwrap_or(context),
        },
        sampling: SamplerOptions::default(),
    };
    Served::start(model, tokenizer, options).context("cannot start a thread")
}

/// Lines of a file, read by a thread of their own: answers do not wait for them.
struct Lines {
    read: Receiver<io::Result<Vec<u8>>>,
    /// One that was waited for.
    here: Option<io::Result<Vec<u8>>>,
    index: u64,
    /// Whether there are no more.
    ended: bool,
    /// Why there are no more.
    problem: Option<io::Error>,
}

impl Lines {
    fn open(input: &Path) -> Result<Self> {
        let mut lines: Box<dyn BufRead + Send> = match input.as_os_str() == "-" {
            true => Box::new(BufReader::new(io::stdin())),
            false => {
                let file =
                    File::open(input).map_err(|error| anyhow!("{}: {error}", input.display()))?;
                Box::new(BufReader::new(file))
            }
        };
        let (send, read) = mpsc::sync_channel(AHEAD);
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                let line = match lines.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => Ok(line),
                    Err(error) => Err(error),
                };
                let failed = line.is_err();
                if send.send(line).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self {
            read,
            here: None,
            index: 0,
            ended: false,
            problem: None,
        })
    }

    /// The next line with its number, if it is there.
    fn next(&mut self) -> Option<(u64, Vec<u8>)> {
        let line = match self.here.take() {
            Some(line) => line,
            None => match self.read.try_recv() {
                Ok(line) => line,
                Err(why) => {
                    self.ended = why == TryRecvError::Disconnected;
                    return None;
                }
            },
        };
        match line {
            Ok(line) => {
                self.index += 1;
                Some((self.index - 1, line))
            }
            Err(problem) => {
                self.problem = Some(problem);
                self.ended = true;
                None
            }
        }
    }

    /// Waits a moment for the next line.
    fn wait(&mut self) {
        if self.here.is_none() {
            self.here = self.read.recv_timeout(LOOK).ok();
        }
    }
}
