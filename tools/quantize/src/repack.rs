//! One file of stacked experts from older layouts, without a change to a weight.
//!
//! ```text
//! old-00001-of-00002.gguf, ..            -> one file, without the entries under `split.`
//! blk.0.ffn_up.0.weight [K, M], .1, ..   -> blk.0.ffn_up_exps.weight [K, M, experts]
//! ```

use crate::error::QuantizeError;
use crate::progress::Progress;
use crate::seal::Seal;
use crate::source::{self, Model, Tensor};
use crate::writing::{self, Listeners, Source};
use crate::{Prober, Report};
use bise_tensor::checkpoint::{Checkpoint, Container};
use bise_tensor::gguf::TensorSpec;
use indexmap::IndexMap;
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
    source::refuse_overwrite(old, new)?;
    let Checkpoint {
        metadata,
        tensors,
        container,
    } = Checkpoint::open(old)?;
    let mut notes = Vec::new();
    if let Container::Gguf { parts, .. } = container
        && parts > 1
    {
        notes.push(format!("joined {parts} files"));
    }
    let whole = |(name, tensor): (String, _)| Tensor::whole(name.clone(), name, tensor);
    let tensors = tensors.into_iter().map(whole).collect();
    let tensors = stack(old, tensors, &mut notes)?;
    if notes.is_empty() {
        notes.push("the file was single and stacked already: copied".to_owned());
    }
    let model = Model {
        metadata,
        tensors,
        notes,
        container,
    };
    write(old, new, model, threads, Listeners { progress, prober })
}

fn write(
    old: &Path,
    new: &Path,
    model: Model,
    threads: Option<usize>,
    listeners: Listeners<'_>,
) -> Result<Report, QuantizeError> {
    let Model {
        metadata,
        tensors,
        notes,
        ..
    } = model;
    let specs = tensors.iter().map(|tensor| TensorSpec {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        dtype: tensor.source_type(),
    });
    let probes = listeners
        .prober
        .and_then(|_| crate::own_probes(&metadata, &tensors));
    let seal = Seal::new(&metadata, specs.collect(), probes).map_err(|e| QuantizeError::gguf(new, e))?;
    let mut report = Report::new(&seal, &tensors, notes);
    let job = writing::identity(old, "repack", &seal).map_err(|e| QuantizeError::io(old, e))?;
    listeners.progress.start(report.source_len);
    let source = Source {
        tensors: &tensors,
        threads,
        verbatim: true,
    };
    let notes = writing::write(new, &job, seal, source, listeners).map_err(|e| e.at(new))?;
    report.notes.extend(notes);
    listeners.progress.finish();
    Ok(report)
}

/// Stacks the experts of each layer, in the place of the first.
fn stack(old: &Path, tensors: Vec<Tensor>, notes: &mut Vec<String>) -> Result<Vec<Tensor>, QuantizeError> {
    let mut stacked: IndexMap<String, Tensor> = IndexMap::new();
    let mut experts = 0;
    for tensor in tensors {
        let fault = |what: &str| QuantizeError::unsupported(old, format!("tensor {}: {what}", tensor.name));
        let Some((name, expert)) = expert(&tensor.name) else {
            stacked.insert(tensor.name.clone(), tensor);
            continue;
        };
        experts += 1;
        let Some(stack) = stacked.get_mut(&name) else {
            if expert != 0 {
                return Err(fault("expert 0 is not before it"));
            }
            stacked.insert(name.clone(), Tensor { name, ..tensor });
            continue;
        };
        if stack.parts.len() as u64 != expert {
            return Err(fault(&format!("expert {} is expected here", stack.parts.len())));
        }
        let (found, expected) = (tensor.source_type(), stack.source_type());
        if found != expected || stack.dims != tensor.dims {
            return Err(fault(&format!(
                "{found} {:?} cannot be stacked on {expected} {:?}",
                tensor.dims, stack.dims
            )));
        }
        stack.parts.extend(tensor.parts);
    }
    let count = stacked
        .values()
        .filter(|tensor| tensor.name.contains("_exps."))
        .count();
    for tensor in stacked
        .values_mut()
        .filter(|tensor| tensor.name.ends_with("_exps.weight") && tensor.dims.len() == 2)
    {
        tensor.dims.push(tensor.parts.len() as u64);
    }
    if experts > 0 {
        notes.push(format!("stacked {experts} experts in {count} tensors"));
    }
    Ok(stacked.into_values().collect())
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
