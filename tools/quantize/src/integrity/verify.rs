//! Checking a file against what it says of itself (see `manifest` and `probe`), or for what no good
//! file has.

mod header;
mod pages;
mod tensors;
mod verdict;

pub use verdict::{Fault, FaultKind, Verdict};

use crate::integrity::manifest;
use crate::integrity::probe::{Prober, Recorded};
use bise_format::checkpoint::Checkpoint;
use bise_format::full_text;
use bise_format::gguf::{Gguf, GgufError};
use bise_format::llama;
use bise_kernels::mmap::FileBytes;
use bise_model::CONTRACT;
use std::io;
use std::path::Path;

/// Checks the GGUF file at `path`: structure, and hashes and probes where it has them. Work runs on
/// the threads of the current pool.
///
/// # Errors
/// When the file cannot be opened; whatever it holds is a matter of the verdict.
pub fn verify(path: &Path, prober: Option<&Prober<'_>>) -> io::Result<Verdict> {
    let model = || {
        bise_format::open(path)
            .map(|(model, _)| model)
            .map_err(|error| full_text(&error))
    };
    Ok(check(&FileBytes::map(path)?, &model, prober))
}

/// Checks a GGUF file that is in memory, as [`verify`] does one at a path.
pub fn verify_bytes(file: &FileBytes, prober: Option<&Prober<'_>>) -> Verdict {
    let model = || {
        let checkpoint = Checkpoint::from_bytes(file.clone()).map_err(|error| full_text(&error))?;
        llama::check(&checkpoint).map_err(|error| full_text(&error))?;
        Ok(checkpoint)
    };
    check(file, &model, prober)
}

/// The model that a file is, or is a part of.
type OpenModel<'a> = &'a dyn Fn() -> Result<Checkpoint, String>;

fn check(file: &FileBytes, model: OpenModel<'_>, prober: Option<&Prober<'_>>) -> Verdict {
    let mut verdict = Verdict::default();
    let gguf = match Gguf::parse(file) {
        Ok(gguf) => gguf,
        Err(error) => {
            let kind = match error {
                GgufError::Truncated { .. } => FaultKind::Truncated,
                _ => FaultKind::Header,
            };
            verdict.fault(kind, error.to_string());
            return verdict;
        }
    };
    verdict.checked.push(format!(
        "{} tensors lie in the file, apart from each other",
        gguf.tensors.len()
    ));
    let ours = [manifest::METADATA, manifest::TENSORS, manifest::HEADER];
    let listed = ours.iter().filter(|key| gguf.metadata.get(key).is_some()).count();
    if listed > 0 {
        if listed < ours.len() {
            verdict.fault(
                FaultKind::Header,
                "some of the entries under bise.verify are missing",
            );
        }
        header::check(file, &gguf, &mut verdict);
        tensors::check_hashes(file, &gguf, &mut verdict);
    } else {
        let what =
            "no hashes: bits that changed, swapped tensors and a changed configuration do not show";
        verdict.unchecked.push(what.to_owned());
        tensors::check_values(file, &gguf, &mut verdict);
        pages::check(file, &gguf, &mut verdict);
    }
    header::check_tokenizer(&gguf, &mut verdict);
    check_probes(model, &gguf, prober, &mut verdict);
    verdict
}

fn check_probes(
    model: OpenModel<'_>,
    gguf: &Gguf,
    prober: Option<&Prober<'_>>,
    verdict: &mut Verdict,
) {
    let recorded = match Recorded::read(&gguf.metadata) {
        Ok(recorded) => recorded,
        Err(what) => return verdict.fault(FaultKind::Probe, what),
    };
    // Whatever runs it would refuse it.
    let model = match model() {
        Ok(model) => model,
        Err(why) => {
            return verdict.fault(FaultKind::Probe, format!("the model does not run: {why}"));
        }
    };
    let Some(prober) = prober else {
        verdict
            .unchecked
            .push("probes: this program does not run models".to_owned());
        return;
    };
    let ours = crate::integrity::probe::Probes::new(&gguf.metadata, header::vocabulary(gguf));
    let prompts = recorded
        .as_ref()
        .map_or(ours.prompts(), |recorded| &recorded.prompts);
    let replay = match prober.logits(model, &[], prompts) {
        Ok(replay) => replay,
        Err(error) => {
            let why = full_text(&error);
            return verdict.fault(FaultKind::Probe, format!("the model does not run: {why}"));
        }
    };
    match recorded.map(|recorded| recorded.compare(&replay, CONTRACT)) {
        Some(Ok(what)) => verdict.checked.push(what),
        Some(Err(what)) => verdict.fault(FaultKind::Probe, what),
        None => {
            let plausible = |logits: &Vec<f32>| {
                logits.iter().all(|l| l.is_finite() && l.abs() < 1e4)
                    && logits.iter().any(|l| *l != logits[0])
            };
            if replay.iter().all(plausible) {
                verdict
                    .checked
                    .push("the model runs and gives plausible logits".to_owned());
            } else {
                verdict.fault(
                    FaultKind::Probe,
                    "the model's logits are infinite, huge, or all the same",
                );
            }
            verdict
                .unchecked
                .push("no probes: whether the logits are the right ones does not show".to_owned());
        }
    }
}
