//! `bise quantize`: the quantizer's own command line, and what the result says of a text.

use crate::divergence::Divergence;
use crate::interrupt::Interrupt;
use crate::{Outcome, runtime, say};
use anyhow::{Context as _, Result};
use bise_quantize::QuantizeError;
use bise_quantize::cli;
use bise_tensor::threads::{Threads, usable_cores};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

/// Make a quantized GGUF file
///
/// SRC is a Hugging Face directory of a Mistral or Mixtral (config.json, safetensors in F32, F16 or BF16, and a
/// tokenizer), or a GGUF file. DST appears only when it is complete.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    quantize: cli::Args,
    /// Compare the result with the source on this text: how far apart what they foresee is
    #[arg(long, value_name = "TEXT")]
    calibrate: Option<PathBuf>,
}

pub fn run(Args { quantize, calibrate }: Args) -> Result<Outcome> {
    let interrupt = Interrupt::listen()?;
    let (src, dst, as_json) = (quantize.src.clone(), quantize.dst.clone(), quantize.json);
    let threads =
        Threads::new(quantize.threads.unwrap_or_else(usable_cores)).context("cannot start threads")?;
    // Before hours of work: the text, and the source as a model that runs.
    let source = match &calibrate {
        Some(text) => Some((runtime::read(text)?, runtime::open(Some(&src))?)),
        None => None,
    };
    let done = match cli::run(quantize, interrupt.flag()) {
        Ok(done) => done,
        Err(error @ QuantizeError::Stopped) => {
            say(format!("bise: {error}"));
            return Ok(Outcome::Interrupted);
        }
        Err(error) => return Err(error.into()),
    };
    if !as_json {
        say(&done);
    }
    let mut divergence = None;
    if let Some((text, source)) = source {
        let model = runtime::open(Some(&dst))?;
        let Some(found) = threads.run(|| Divergence::measure(&source, &model, &text, &interrupt))? else {
            return Ok(Outcome::Interrupted);
        };
        if !as_json {
            say(&found);
        }
        divergence = Some(found);
    }
    if as_json {
        let mut object = done.json();
        if let Some(found) = divergence {
            object["divergence"] = json!(found.json());
        }
        writeln!(io::stdout(), "{object}")?;
    }
    Ok(Outcome::Done)
}
