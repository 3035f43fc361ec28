//! `bise repack`: one file of stacked experts from older layouts.

use crate::messages::{note, say};
use crate::outcome::Outcome;
use crate::probe;
use crate::progress::Stoppable;
use crate::quantize::stoppable;
use crate::runtime;
use anyhow::Result;
use bise_quantize::{Prober, repack};
use std::path::PathBuf;

/// Make one GGUF file with stacked experts of a split or old one, without loss
///
/// OLD may be any part of a model in several files (-00001-of-00003.gguf), and may have a tensor
/// for each expert, as the first Mixtral files did. NEW has the same weights, bit for bit, as one
/// file with the experts of a layer in one tensor.
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
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

pub fn run(args: Args) -> Result<Outcome> {
    let prober = Prober {
        threads: &runtime::threads(None)?,
        progress: &probe::bar,
    };
    let prober = (!args.no_probe).then_some(&prober);
    let work = |progress: &Stoppable| {
        repack(
            &args.old,
            &args.new,
            args.threads.map(usize::from),
            progress,
            prober,
        )
    };
    let Some(report) = stoppable(work)? else {
        return Ok(Outcome::Interrupted);
    };
    report.notes.iter().for_each(note);
    let (tensors, bytes) = (report.tensors.len(), report.file_len);
    let name = args.new.display();
    say(format_args!("{name}: {tensors} tensors, {bytes} bytes"));
    Ok(Outcome::Done)
}
