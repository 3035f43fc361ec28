//! `bise logits`: write what the model says at every position, for comparison with other software.

use crate::destination;
use crate::interrupt::Interrupt;
use crate::loading::Which;
use crate::outcome::Outcome;
use crate::progress::Bar;
use crate::runtime::{self, Runtime};
use anyhow::{Result, anyhow, ensure};
use bise_model::Model;
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::path::{Path, PathBuf};

/// Write the logits of every position to a safetensors file
///
/// The file holds `tokens`, n of I32, and `logits`, n rows of F32: row i says what follows tokens 0
/// to i.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    input: Input,
    /// File to write; - for standard output
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
    #[command(flatten)]
    runtime: Runtime,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Input {
    /// Text, tokenized after the token that begins a text
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Token ids, as they are
    #[arg(long, value_name = "1,2,3", value_delimiter = ',')]
    tokens: Option<Vec<u32>>,
    /// File of token ids, separated by commas or white space; - is standard input
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
}

impl Input {
    fn tokens(&self, model: &Model, path: Option<&Path>) -> Result<Vec<u32>> {
        if let Some(prompt) = &self.prompt {
            return Ok(runtime::prompt(
                &runtime::tokenizer(model, path)?,
                prompt.as_bytes(),
            ));
        }
        if let Some(path) = &self.tokens_file {
            let text = String::from_utf8(runtime::read(path)?)
                .map_err(|_| anyhow!("{}: not text", path.display()))?;
            let words = text
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|word| !word.is_empty());
            let bad = |word| move |_| anyhow!("{}: '{word}' is not a token id", path.display());
            return words.map(|word| word.parse().map_err(bad(word))).collect();
        }
        Ok(self.tokens.clone().unwrap_or_default())
    }
}

pub fn run(args: Args) -> Result<Outcome> {
    let read = [args.which.path(), args.input.tokens_file.as_deref()];
    let read = read.into_iter().flatten().chain(args.runtime.adapters());
    destination::try_out(&args.output, &read.collect::<Vec<_>>())?;
    let model = args.runtime.open(args.which.path())?;
    let tokens = args.input.tokens(&model, args.which.path())?;
    ensure!(!tokens.is_empty(), "no tokens");
    let mut context = args.runtime.context(&model)?;
    let mut logits = Vec::with_capacity(tokens.len() * model.vocabulary_size() * 4);
    let bar = Bar::tokens("reading", tokens.len());
    context.watch_progress(Some(bar.watch()));
    let sink = |row: &[f32]| logits.extend(row.iter().flat_map(|l| l.to_le_bytes()));
    args.runtime
        .threads()?
        .run(|| context.forward_all(&tokens, sink))?;

    let ids: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
    let shape = vec![tokens.len(), model.vocabulary_size()];
    let tensors = [
        ("tokens", TensorView::new(Dtype::I32, vec![tokens.len()], &ids)?),
        ("logits", TensorView::new(Dtype::F32, shape, &logits)?),
    ];
    let file = serialize(tensors, None)?;
    let _whole = Interrupt::listen();
    destination::write(&args.output, &file)?;
    Ok(Outcome::Done)
}
