//! `bise embed`: texts as vectors, line by line.

use crate::loading::Which;
use crate::messages::note;
use crate::outcome::Outcome;
use crate::pooling::{How, pooling};
use crate::runtime::{self, Runtime};
use crate::usage::Misuse;
use anyhow::{Context as _, Result, anyhow, ensure};
use bise_model::sampler::SamplerOptions;
use bise_serve::scheduler::SchedulerOptions;
use bise_serve::{Served, ServedOptions};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;

/// Turn texts into vectors: a line of JSON for each line
///
/// A line is {"text": ".."} or a text in quotes; an "id" is repeated. Its result is {"embedding":
/// [..]}, of length 1, or {"error": ".."}.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// File with the lines; - is standard input [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Each line is a text as it stands
    #[arg(long)]
    text: bool,
    /// How vectors are made of the states of all tokens [default: as the file says, or last]
    #[arg(long, value_name = "HOW")]
    pooling: Option<How>,
    #[command(flatten)]
    runtime: Runtime,
}

/// Runs the command.
pub fn run(args: Args) -> Result<Outcome> {
    let mut lines = args.lines()?;
    let served = args.served()?;
    let waiting = tokio::runtime::Builder::new_current_thread().build();
    let waiting = waiting.context("cannot start a runtime")?;
    let mut out = io::stdout().lock();
    let (mut line, mut wrong) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        if read.context("cannot read the texts")? == 0 {
            break;
        }
        if !args.text && line.trim_ascii().is_empty() {
            continue;
        }
        let (id, text) = match args.text {
            true => (None, plain(&line)),
            false => row(&line),
        };
        let embedding = text.and_then(|text| {
            let ids = served.embedding_prompt(&text);
            Ok(waiting.block_on(served.embed(ids))?)
        });
        let mut result = Map::new();
        result.extend(id.map(|id| ("id".to_owned(), id)));
        if let Err(error) = &embedding {
            wrong += 1;
            result.insert("error".to_owned(), format!("{error:#}").into());
        }
        write(&mut out, result, embedding.ok())?;
    }
    served.scheduler.stop();
    if wrong > 0 {
        note(format_args!(
            "{wrong} lines have an error in place of an embedding"
        ));
    }
    Ok(Outcome::Done)
}

impl Args {
    fn lines(&self) -> Result<Box<dyn BufRead>> {
        match self.file.as_deref().filter(|file| file.as_os_str() != "-") {
            Some(file) => {
                let opened = File::open(file);
                let opened = opened.map_err(|error| anyhow!("{}: {error}", file.display()))?;
                Ok(Box::new(BufReader::new(opened)))
            }
            None => {
                let no_texts =
                    || Misuse("no texts: give a file with -f FILE, or pipe them in".to_owned());
                let asked = self.file.is_some();
                ensure!(asked || !io::stdin().is_terminal(), no_texts());
                Ok(Box::new(BufReader::new(io::stdin())))
            }
        }
    }

    /// The model, which makes one embedding at a time.
    fn served(&self) -> Result<Served> {
        let path = self.which.path();
        let model = self.runtime.open(path)?;
        let tokenizer = runtime::tokenizer(&model, path)?;
        let (engine, context) = self.runtime.engine(model.config())?;
        let options = ServedOptions {
            names: Vec::new(),
            template: Err("embeddings are no chats".to_owned()),
            pooling: pooling(self.pooling, model.metadata())?,
            engine,
            scheduler: SchedulerOptions {
                sequences: 1,
                // The one before may count for a moment longer.
                queue: 8,
                context,
            },
            sampling: SamplerOptions::default(),
        };
        Served::start(model, tokenizer, options).context("cannot start a thread")
    }
}

/// A line that is a text.
fn plain(line: &[u8]) -> Result<String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(std::str::from_utf8(line).context("not UTF-8")?.to_owned())
}

/// The id and the text of a line of JSON.
fn row(line: &[u8]) -> (Option<Value>, Result<String>) {
    match serde_json::from_slice(line) {
        Ok(Value::String(text)) => (None, Ok(text)),
        Ok(Value::Object(mut row)) => {
            let text = match row.remove("text") {
                Some(Value::String(text)) => Ok(text),
                Some(other) => Err(anyhow!("\"text\" is {other}, expected a text")),
                None => Err(anyhow!("there is no \"text\"")),
            };
            (row.remove("id"), text)
        }
        Ok(_) => (None, Err(anyhow!("expected a text, or an object with \"text\""))),
        Err(error) => (None, Err(anyhow!("not JSON: {error}"))),
    }
}

/// Writes a line: `result`, with the embedding if there is one.
fn write(
    out: &mut impl Write,
    result: Map<String, Value>,
    embedding: Option<Vec<f32>>,
) -> Result<()> {
    #[derive(serde::Serialize)]
    struct Line {
        #[serde(flatten)]
        result: Map<String, Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        embedding: Option<Vec<f32>>,
    }
    let line = Line { result, embedding };
    Ok(writeln!(out, "{}", serde_json::to_string(&line)?)?)
}
