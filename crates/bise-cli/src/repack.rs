//! `bise repack`: one file of stacked experts from older layouts.

use crate::interrupt::Interrupt;
use crate::messages::{note, say};
use crate::probe::LayerByLayer;
use crate::{Outcome, runtime};
use anyhow::Result;
use bise_quantize::{Bar, QuantizeError, repack};
use std::path::PathBuf;

/// Make one GGUF file with stacked experts of a split or old one, without loss
///
/// OLD may be any part of a model in several files (-00001-of-00003.gguf), and may have a tensor for each expert, as the
/// first Mixtral files did. NEW has the same weights, bit for bit, as one file with the experts of a layer in one tensor.
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file, or one part of several
    old: PathBuf,
    /// GGUF file to write
    new: PathBuf,
    /// Record hashes only: the model is not run
    #[arg(long)]
    no_probe: bool,
    /// Threads to use [default: all cores]
    #[arg(short, long)]
    threads: Option<usize>,
}

pub fn run(args: Args) -> Result<Outcome> {
    let prober = LayerByLayer(runtime::threads(None)?);
    let prober = (!args.no_probe).then_some(&prober as _);
    let bar = Bar::new(Interrupt::listen()?.flag());
    match repack(&args.old, &args.new, args.threads, &bar, prober) {
        Ok(report) => {
            report.notes.iter().for_each(note);
            let (tensors, bytes) = (report.tensors.len(), report.file_len);
            say(format!(
                "{}: {tensors} tensors, {bytes} bytes",
                args.new.display()
            ));
            Ok(Outcome::Done)
        }
        Err(error @ QuantizeError::Stopped) => {
            note(error);
            Ok(Outcome::Interrupted)
        }
        Err(error) => Err(error.into()),
    }
}
