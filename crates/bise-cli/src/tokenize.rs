//! `bise tokenize`: show the tokens of a text.

use crate::{Outcome, loading, runtime};
use anyhow::Result;
use std::io::{self, Write};
use std::path::Path;

/// Show the tokens of a text
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file or directory [default: the built-in story teller], then the text
    #[arg(value_names = ["MODEL", "TEXT"], num_args = 1..=2, required = true)]
    model_and_text: Vec<String>,
    /// Leave out the token that begins a text
    #[arg(long)]
    no_bos: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<Outcome> {
    let (text, model) = args.model_and_text.split_last().expect("clap asks for one");
    let checkpoint = loading::checkpoint(model.first().map(Path::new))?;
    let tokenizer = runtime::tokenizer_of(&checkpoint)?;
    let ids = match args.no_bos {
        true => tokenizer.encode(text.as_bytes()),
        false => tokenizer.encode_prompt(text.as_bytes()),
    };
    let pieces: Vec<&str> = ids.iter().map(|&id| tokenizer.piece(id)).collect();
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "ids": ids, "pieces": pieces }))?;
    } else {
        for (id, piece) in ids.iter().zip(pieces) {
            writeln!(out, "{id:>6}  {piece}")?;
        }
    }
    Ok(Outcome::Done)
}
