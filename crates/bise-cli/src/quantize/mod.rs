//! `bise quantize`: a quantized GGUF file, and what it says of a text.

pub mod options;

use crate::divergence::Divergence;
use crate::hub::located::located;
use crate::interrupt::Interrupt;
use crate::messages::{note, say};
use crate::outcome::Outcome;
use crate::probe;
use crate::progress::{Bar, Stoppable};
use crate::{loading, lora, runtime};
use anyhow::{Context as _, Result};
use bise_format::atomic::claim;
use bise_model::{LoadOptions, Model};
use bise_quantize::{Prober, QuantizeError, Source};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Make a quantized GGUF file
///
/// SRC is a directory of a Mistral or Mixtral with safetensors in F32, F16 or BF16 and a tokenizer,
/// in Hugging Face's layout (config.json) or Mistral's own (params.json); or a GGUF file, or any
/// part of a split one. DST appears only when it is complete; until then the work lies beside it as
/// .DST.bise-part and .DST.bise-journal. Stopped by Ctrl-C or killed, the same command goes on from
/// there. DST carries hashes and probes for bise verify. Adapters (--lora) are merged before
/// weights are quantized.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    quantize: options::Args,
    /// Compare the result with the source on this text: how far apart what they foresee is
    #[arg(long, value_name = "TEXT")]
    calibrate: Option<PathBuf>,
}

pub fn run(
    Args {
        quantize,
        calibrate,
    }: Args,
) -> Result<Outcome> {
    let (src, dst, as_json) = (located(&quantize.src)?, quantize.dst.clone(), quantize.json);
    let threads = runtime::threads(quantize.threads.map(usize::from))?;
    if let Some(text) = &calibrate {
        claim(&dst, &[text])?;
    }
    quantize.options().check(&src, &dst)?;
    let source = Source::open(&src)?;
    // Before hours of work: the text, and the source as a model that runs.
    let compared = match &calibrate {
        Some(text) => {
            let text = runtime::read(text)?;
            source.notes().iter().for_each(note);
            let adapters = lora::open(quantize.adapters())?;
            let options = LoadOptions {
                adapters: &adapters,
                ..LoadOptions::default()
            };
            let model = Model::load(source.checkpoint().clone(), &options);
            let model = model.with_context(|| src.display().to_string())?;
            let tokenizer = runtime::tokenizer(&model, Some(&src))?;
            threads.run(|| Divergence::try_source(&model, &tokenizer, &text))?;
            Some((text, model, tokenizer))
        }
        None => None,
    };
    refuse_unknown_rules(&source)?;
    let prober = Prober {
        threads: &threads,
        progress: &probe::bar,
    };
    let Some(done) = stoppable(|progress| options::run(quantize, source, progress, &prober))?
    else {
        return Ok(Outcome::Interrupted);
    };
    if !as_json {
        say(&done);
    }
    let mut divergence = None;
    if let Some((text, source, tokenizer)) = compared {
        let model = open(&dst)?;
        let found = threads.run(|| Divergence::measure(&source, &model, &tokenizer, &text))?;
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

/// Refuses a directory whose tokenizer does to text what is not known here: the file would give
/// other tokens than the directory.
pub fn refuse_unknown_rules(source: &Source) -> Result<()> {
    let checkpoint = source.checkpoint();
    if checkpoint.metadata.get("tokenizer.rules.version").is_some() {
        runtime::tokenizer_of(checkpoint, Some(source.path()))?;
    }
    Ok(())
}

/// What is said when the work does not end by itself.
const STOPPED: &str = "stopped; the same command goes on from here";

/// Runs the quantizer with a bar; `None` when a signal has stopped it. It goes on where it was
/// stopped, however that was.
pub fn stoppable<T>(
    work: impl FnOnce(&Stoppable) -> Result<T, QuantizeError>,
) -> Result<Option<T>, QuantizeError> {
    let interrupt = Interrupt::listen_for(Duration::from_millis(300), STOPPED);
    let progress = Stoppable {
        bar: Bar::bytes("quantizing", 0),
        stop: interrupt.flag(),
    };
    match work(&progress) {
        Ok(done) => Ok(Some(done)),
        Err(error @ QuantizeError::Stopped) => {
            note(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The model at `path`, whatever memory it takes.
fn open(path: &Path) -> Result<Model> {
    let checkpoint = loading::checkpoint(Some(path))?;
    Model::from_checkpoint(checkpoint).with_context(|| path.display().to_string())
}
