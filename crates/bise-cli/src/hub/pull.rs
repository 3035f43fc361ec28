//! `bise pull`: a model from a hub.

use super::looker::Looker;
use super::made;
use crate::interrupt::Interrupt;
use crate::messages::note;
use crate::outcome::Outcome;
use crate::probe;
use crate::progress::{Bar, Stoppable};
use crate::{loading, runtime};
use anyhow::{Result, ensure};
use bise_hub::{Hub, HubError, Name};
use bise_quantize::{Options, Prober, QuantizeError, Target, quantize_and_probe};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Get a model from a Hugging Face hub
///
/// NAME is OWNER/NAME, with :FILE or :TYPE for one file of several, such as org/model:Q4_K_M, and
/// @REVISION before that. Files come into the cache that Hugging Face's tools share ($HF_HUB_CACHE,
/// $HF_HOME/hub, ~/.cache/huggingface/hub), each with its hash checked. Stopped or broken off, the
/// same command goes on from there. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured. Prints
/// the path; every command takes the name too.
#[derive(clap::Args)]
pub struct Args {
    /// OWNER/NAME, OWNER/NAME:FILE or OWNER/NAME:TYPE
    #[arg(value_parser = name)]
    name: Name,
    /// The type to have: the file of that type, or else made by quantizing the safetensors
    #[arg(long, value_name = "TYPE", value_parser = target)]
    r#type: Option<Target>,
    /// Print nothing but the path
    #[arg(short, long)]
    quiet: bool,
}

/// A name, as the command line has it.
pub fn name(text: &str) -> Result<Name, bise_hub::NameError> {
    Name::parse(text)
}

fn target(text: &str) -> Result<Target, String> {
    Target::from_name(text).ok_or_else(|| "no type or recipe".to_owned())
}

pub fn run(args: Args) -> Result<Outcome> {
    let hub = Hub::from_env()?;
    let interrupt = Interrupt::listen();
    let looker = Looker::new(&interrupt);
    let pulled = match args.r#type {
        None => hub.pull(&args.name, &looker).map(|pulled| pulled.path),
        Some(target) => match typed(&hub, &args.name, target, &looker) {
            Ok(path) => Ok(path),
            Err(error) => match error.downcast::<HubError>() {
                Ok(error) => Err(error),
                Err(error) if stopped(&error) => return Ok(Outcome::Interrupted),
                Err(error) => return Err(error),
            },
        },
    };
    looker.end();
    let path = match pulled {
        Err(HubError::Stopped) => {
            note(HubError::Stopped);
            return Ok(Outcome::Interrupted);
        }
        pulled => pulled?,
    };
    if !args.quiet {
        note(format_args!("run it with: bise chat {}", shown_name(&args)));
    }
    writeln!(io::stdout().lock(), "{}", path.display())?;
    Ok(Outcome::Done)
}

fn stopped(error: &anyhow::Error) -> bool {
    error
        .downcast_ref()
        .is_some_and(|error| matches!(error, QuantizeError::Stopped))
}

fn shown_name(args: &Args) -> Name {
    let part = args.r#type.map(|target| target.to_string());
    Name {
        part: part.or(args.name.part.clone()),
        ..args.name.clone()
    }
}

/// The file of a type: the hub's, or else one that is made here.
fn typed(hub: &Hub, name: &Name, target: Target, looker: &Looker<'_>) -> Result<PathBuf> {
    ensure!(
        name.part.is_none(),
        "--type {target} and {name}: give one of them"
    );
    let word = target.to_string();
    if let Some(path) = made::find(name, &word) {
        return Ok(path);
    }
    let repository = hub.repository(name, looker)?;
    if let Ok(choice) = repository.choose(Some(&word)) {
        return Ok(hub.pull_files(&repository, &choice, looker)?.path);
    }
    let choice = repository.choose(None)?;
    let source = hub.pull_files(&repository, &choice, looker)?.path;
    looker.end();
    let dst = made::path(name, &repository.commit, &word)?;
    quantize(&source, &dst, target)?;
    Ok(dst)
}

fn quantize(source: &Path, dst: &Path, target: Target) -> Result<()> {
    let threads = runtime::threads(None)?;
    let prober = Prober {
        threads: &threads,
        progress: &probe::bar,
    };
    let stoppable = Stoppable {
        bar: Bar::bytes("quantizing", 0),
        stop: Interrupt::listen().flag(),
    };
    let options = Options::new(target);
    let report = quantize_and_probe(source, dst, &options, &stoppable, Some(&prober))?;
    note(format_args!(
        "quantized to {target}: {}",
        loading::size(report.file_len)
    ));
    Ok(())
}
