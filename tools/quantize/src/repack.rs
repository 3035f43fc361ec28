//! One file of stacked experts from older layouts, without a change to a weight.
//!
//! ```text
//! old-00001-of-00002.gguf, ..            -> one file, without the entries under `split.`
//! blk.0.ffn_up.0.weight [K, M], .1, ..   -> blk.0.ffn_up_exps.weight [K, M, experts]
//! ```

use crate::error::QuantizeError;
use crate::pipeline;
use crate::progress::Progress;
use crate::seal::Seal;
use crate::source::{self, Tensor};
use crate::writing::{self, Listeners, Source};
use crate::{Prober, Report};
use bise_format::atomic::claim;
use bise_format::checkpoint::{Checkpoint, Container};
use bise_format::gguf::{Metadata, TensorSpec};
use bise_format::{OpenError, llama, locate};
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes the model in the GGUF file `old`, which may be any part of a split one, to `new` as one file with stacked
/// experts. Types, values and other metadata stay as they are.
///
/// `new` appears as that of [`quantize`](crate::quantize) does.
///
/// # Errors
/// When `old` is damaged or incomplete, experts cannot be stacked since their types or shapes differ, `new` is part of the
/// source, or reading or writing fails.
pub fn repack(
    old: &Path,
    new: &Path,
    threads: Option<usize>,
    progress: &dyn Progress,
    prober: Option<&dyn Prober>,
) -> Result<Report, QuantizeError> {
    locate(old)?;
    claim(new, &[old])?;
    let checkpoint = Checkpoint::open(old).map_err(OpenError::from)?;
    let checked = llama::check(&checkpoint);
    let mut notes = checked.map_err(|source| OpenError::Llama {
        path: old.to_owned(),
        source,
    })?;
    let seen = notes.len();
    if let Container::Gguf { parts, .. } = checkpoint.container
        && parts > 1
    {
        notes.push(format!("joined {parts} files"));
    }
    let tensors = stack(old, &checkpoint, &mut notes)?;
    for tensor in &tensors {
        let expected = tensor.source_type();
        if let Some(other) = tensor.parts.iter().find(|part| part.tensor.dtype() != expected) {
            let found = other.tensor.dtype();
            let what = format!(
                "tensor {} is {found}, it cannot be stacked on {expected}",
                other.name
            );
            return Err(QuantizeError::unsupported(old, what));
        }
    }
    if notes.len() == seen {
        notes.push("the file was single and stacked already: copied".to_owned());
    }
    let listeners = Listeners { progress, prober };
    write(
        (old, new),
        &checkpoint.metadata,
        tensors,
        notes,
        threads,
        listeners,
    )
}

fn write(
    (old, new): (&Path, &Path),
    metadata: &Metadata,
    tensors: Vec<Tensor>,
    notes: Vec<String>,
    threads: Option<usize>,
    listeners: Listeners<'_>,
) -> Result<Report, QuantizeError> {
    let specs = tensors.iter().map(|tensor| TensorSpec {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        dtype: tensor.source_type(),
    });
    let probes = listeners
        .prober
        .and_then(|_| crate::own_probes(metadata, &tensors));
    let seal = Seal::new(metadata, specs.collect(), probes).map_err(|e| QuantizeError::gguf(new, e))?;
    let mut report = Report::new(&seal, &tensors, notes);
    let job = writing::identity(old, None, "repack", &seal).map_err(|e| QuantizeError::io(old, e))?;
    listeners.progress.start(report.source_len);
    let source = Source {
        tensors: &tensors,
        weighing: None,
        measure: false,
        pool: &pipeline::pool(threads)?,
        verbatim: true,
    };
    let written = writing::write(new, &job, seal, source, listeners).map_err(|e| e.at(new))?;
    report.notes.extend(written.notes);
    listeners.progress.finish();
    Ok(report)
}

/// A tensor of the source, or experts of one that is to be, by their numbers.
enum Place {
    One(Tensor),
    Experts(BTreeMap<u64, Tensor>),
}

/// Stacks the experts of each layer that are tensors of their own, in the place of the first.
pub(crate) fn stack(
    old: &Path,
    checkpoint: &Checkpoint,
    notes: &mut Vec<String>,
) -> Result<Vec<Tensor>, QuantizeError> {
    let mut places: IndexMap<String, Place> = IndexMap::new();
    let mut count = 0;
    for tensor in source::tensors(checkpoint) {
        let Some((name, expert)) = expert(&tensor.name) else {
            places.insert(tensor.name.clone(), Place::One(tensor));
            continue;
        };
        let twice = || format!("tensor {} and a stacked one are the same", tensor.name);
        match places
            .entry(name)
            .or_insert_with(|| Place::Experts(BTreeMap::new()))
        {
            Place::Experts(experts) => experts.insert(expert, tensor),
            Place::One(_) => return Err(QuantizeError::unsupported(old, twice())),
        };
        count += 1;
    }
    let mut stacks = 0;
    let tensors = places.into_iter().map(|(name, place)| match place {
        Place::One(tensor) => Ok(tensor),
        Place::Experts(experts) => {
            stacks += 1;
            join(name, experts).map_err(|what| QuantizeError::unsupported(old, what))
        }
    });
    let tensors = tensors.collect::<Result<_, _>>()?;
    // A directory has none stacked.
    if count > 0 && matches!(checkpoint.container, Container::Gguf { .. }) {
        notes.push(format!("stacked {count} tensors of experts to {stacks}"));
    }
    Ok(tensors)
}

/// Experts as one tensor, when none is missing and all have the same shape.
fn join(name: String, experts: BTreeMap<u64, Tensor>) -> Result<Tensor, String> {
    let count = experts.len() as u64;
    let mut joined: Option<Tensor> = None;
    for (expected, (expert, tensor)) in (0..).zip(experts) {
        if expert != expected {
            return Err(format!("{name}: expert {expected} is missing"));
        }
        match &mut joined {
            None => joined = Some(tensor),
            Some(joined) if joined.dims == tensor.dims => joined.parts.extend(tensor.parts),
            Some(joined) => {
                let (found, expected) = (&tensor.dims, &joined.dims);
                return Err(format!(
                    "tensor {} is {found:?}, expected {expected:?}",
                    tensor.name
                ));
            }
        }
    }
    let mut joined = joined.ok_or_else(|| format!("{name}: no experts"))?;
    joined.name = name;
    joined.dims.push(count);
    Ok(joined)
}

/// The stacked tensor that `blk.0.ffn_up.3.weight` goes into, and its place there.
fn expert(name: &str) -> Option<(String, u64)> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        [
            "blk",
            layer,
            matrix @ ("ffn_gate" | "ffn_up" | "ffn_down"),
            expert,
            "weight",
        ] => Some((format!("blk.{layer}.{matrix}_exps.weight"), expert.parse().ok()?)),
        _ => None,
    }
}
