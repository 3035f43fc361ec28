//! `bise verify`: is a file what it was when it was written?

use crate::hub::located::located;
use crate::outcome::Outcome;
use crate::probe;
use crate::progress::Bar;
use crate::{loading, runtime};
use anyhow::{Context as _, Result, ensure};
use bise_format::locate;
use bise_quantize::{Fault, FaultKind, Prober, Verdict, verify, verify_bytes};
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Check a GGUF file: structure, hashes, and whether it says what it should
///
/// Files that bise quantize has written carry hashes of all their parts and probes: prompts with
/// the logits that follow. Of other files only the structure, the values and the tokenizer can be
/// checked. Exits with 1 when something is wrong.
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file [default: what BISE_MODEL names, or else the built-in story teller]
    file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Do not run the model
    #[arg(long)]
    no_probe: bool,
    /// Threads [default: one for each physical core that the process may use]
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

pub fn run(mut args: Args) -> Result<Outcome> {
    if let Some(path) = &mut args.file {
        *path = located(path)?.into_owned();
        locate(path)?;
        if path.is_dir() {
            // What is wrong with it comes first.
            loading::checkpoint(Some(path))?;
        }
        let folder =
            "a folder of safetensors, which carries no hashes: bise verify checks GGUF files";
        ensure!(
            !path.is_dir(),
            "{}: {folder}\nmake one with: bise quantize",
            path.display()
        );
    }
    let threads = runtime::threads(args.threads.map(usize::from))?;
    let bar = Bar::waiting("checking");
    let mut verdict = threads.run(|| {
        let prober = Prober {
            threads: &threads,
            progress: &probe::bar,
        };
        let prober = (!args.no_probe).then_some(&prober);
        match args.file.as_deref().or(loading::default()) {
            Some(path) => verify(path, prober).with_context(|| path.display().to_string()),
            None => Ok(verify_bytes(&loading::built_in(), prober)),
        }
    })?;
    bar.end();
    check_tokenizer(args.file.as_deref().or(loading::default()), &mut verdict);
    if args.json {
        print_json(&verdict)?
    } else {
        print_text(&verdict)?
    }
    Ok(if verdict.faults.is_empty() {
        Outcome::Done
    } else {
        Outcome::Bad
    })
}

/// Nothing is good that a command would refuse: the tokenizer is made as they make it.
fn check_tokenizer(path: Option<&Path>, verdict: &mut Verdict) {
    let Some(path) = path else { return };
    // A file that does not open has its fault already, and one without tokens is for ids only.
    let Ok((checkpoint, _)) = bise_format::open(path) else {
        return;
    };
    if checkpoint.metadata.get("tokenizer.ggml.tokens").is_none() {
        return;
    }
    if let Err(error) = runtime::read_tokenizer(&checkpoint) {
        let (kind, what) = (FaultKind::Tokenizer, format!("{error:#}"));
        verdict.faults.push(Fault { kind, what });
    }
}

fn print_text(verdict: &Verdict) -> Result<()> {
    let mut out = io::stdout().lock();
    for what in &verdict.checked {
        writeln!(out, "good         {what}")?;
    }
    for what in &verdict.unchecked {
        writeln!(out, "not checked  {what}")?;
    }
    for fault in &verdict.faults {
        writeln!(out, "BAD          {}: {}", fault.kind.name(), fault.what)?;
    }
    Ok(())
}

fn print_json(verdict: &Verdict) -> Result<()> {
    let faults: Vec<_> = verdict
        .faults
        .iter()
        .map(|f| json!({ "kind": f.kind.name(), "what": f.what }))
        .collect();
    let object = json!({
        "good": verdict.faults.is_empty(), "faults": faults,
        "checked": verdict.checked, "not_checked": verdict.unchecked,
    });
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&object)?)?;
    Ok(())
}
