//! `bise quantize`: the quantizer's own command line, and what the result says of a text.

use crate::divergence::Divergence;
use crate::interrupt::Interrupt;
use crate::messages::{note, say};
use crate::probe::LayerByLayer;
use crate::{Outcome, loading, runtime};
use anyhow::{Context as _, Result};
use bise_model::Model;
use bise_quantize::QuantizeError;
use bise_quantize::cli;
use bise_tensor::atomic::claim;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Make a quantized GGUF file
///
/// SRC is a directory of a Mistral or Mixtral with safetensors in F32, F16 or BF16 and a tokenizer, in Hugging Face's layout
/// (config.json) or Mistral's own (params.json); or a GGUF file, or any part of a split one. DST appears only when it is
/// complete; until then the work lies beside it as .DST.bise-part and .DST.bise-journal. Stopped by Ctrl-C or killed, the
/// same command goes on from there. DST carries hashes and probes for bise verify.
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
    let new_pool = || runtime::threads(quantize.threads);
    let (threads, prober) = (new_pool()?, LayerByLayer(new_pool()?));
    // Before hours of work: the text, and the source as a model that runs.
    let source = match &calibrate {
        Some(text) => {
            claim(&dst, &[text])?;
            let (text, model) = (runtime::read(text)?, open(&src)?);
            let tokenizer = runtime::tokenizer(&model, Some(&src))?;
            Some((text, model, tokenizer))
        }
        None => None,
    };
    let done = match cli::run(quantize, interrupt.flag(), Some(&prober)) {
        Ok(done) => done,
        Err(error @ QuantizeError::Stopped) => {
            note(error);
            return Ok(Outcome::Interrupted);
        }
        Err(error) => return Err(error.into()),
    };
    if !as_json {
        say(&done);
    }
    let mut divergence = None;
    if let Some((text, source, tokenizer)) = source {
        let model = open(&dst)?;
        let measure = || Divergence::measure(&source, &model, &tokenizer, &text, &interrupt);
        let Some(found) = threads.run(measure)? else {
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
            object["divergence"] = found.json();
        }
        writeln!(io::stdout(), "{object}")?;
    }
    Ok(Outcome::Done)
}

/// The model at `path`, whatever memory it takes.
fn open(path: &Path) -> Result<Model> {
    let checkpoint = loading::checkpoint(Some(path))?;
    Model::from_checkpoint(checkpoint).with_context(|| path.display().to_string())
}
