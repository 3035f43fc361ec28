//! One file of stacked experts from older layouts, without a change to a weight.
//!
//! ```text
//! old-00001-of-00002.gguf, ..            -> one file, without the entries under `split.`
//! blk.0.ffn_up.0.weight [K, M], .1, ..   -> blk.0.ffn_up_exps.weight [K, M, experts]
//! ```

use crate::error::QuantizeError;
use crate::integrity::manifest::Manifest;
use crate::progress::Progress;
use crate::write::pipeline;
use crate::write::source::{StackedTensor, stack};
use crate::write::writing::{self, Contents, Listeners};
use crate::{Prober, Report};
use bise_format::atomic::claim;
use bise_format::checkpoint::{Checkpoint, Container};
use bise_format::gguf::{Metadata, TensorSpec};
use bise_format::{OpenError, llama, locate};
use std::path::Path;

/// Writes the model in the GGUF file `old`, which may be any part of a split one, to `new` as one
/// file with stacked experts. Types, values and other metadata stay as they are.
///
/// `new` appears as that of [`quantize`](crate::quantize) does.
///
/// # Errors
/// When `old` is damaged or incomplete, experts cannot be stacked since their types or shapes
/// differ, `new` is part of the source, or reading or writing fails.
pub fn repack(
    old: &Path,
    new: &Path,
    threads: Option<usize>,
    progress: &dyn Progress,
    prober: Option<&Prober<'_>>,
) -> Result<Report, QuantizeError> {
    locate(old)?;
    if old.is_dir() {
        return Err(QuantizeError::Open(OpenError::Misplaced {
            path: old.to_owned(),
            problem: "a folder, and only GGUF files can be repacked".to_owned(),
            cure: "bise quantize makes a GGUF file of a folder".to_owned(),
        }));
    }
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
    tensors: Vec<StackedTensor>,
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
        .and_then(|_| crate::convert::own_probes(metadata, &tensors));
    let manifest = Manifest::new(metadata, specs.collect(), probes)
        .map_err(|e| QuantizeError::gguf(new, e))?;
    let mut report = Report::new(&manifest, &tensors, notes);
    let job =
        writing::identity(old, &[], "repack", &manifest).map_err(|e| QuantizeError::io(old, e))?;
    listeners.progress.start(report.source_len);
    let contents = Contents {
        tensors: &tensors,
        weighing: None,
        measure: false,
        pool: &pipeline::pool(threads)?,
        verbatim: true,
    };
    let written =
        writing::write(new, &job, manifest, contents, listeners).map_err(|e| e.at(new))?;
    report.notes.extend(written.notes);
    listeners.progress.finish();
    Ok(report)
}
