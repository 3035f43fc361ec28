//! Hugging Face directories and GGUF files in, quantized GGUF files out.
//!
//! ```text
//! config.json, shards, tokenizer --> hf      --+
//!                                              +--> Model --> recipe --> pipeline --> DST, all or nothing
//! GGUF file ------------------------> source --+    (GGUF's names, metadata and row order)
//! ```
//!
//! Weights are read through maps and pass in slabs of rows: memory does not grow with the model. The output
//! depends on the input and the options alone, not on the number of threads.
#![forbid(unsafe_code)]

pub mod cli;
mod error;
mod hf;
mod names;
mod permute;
mod pipeline;
mod progress;
mod recipe;
mod source;
mod synthetic;
mod tokenizer;

pub use error::{QuantizeError, TensorFaults};
pub use progress::{Bar, Progress, Silent};
pub use recipe::Target;
pub use synthetic::synthetic;
pub use tokenizer::tekken_metadata;

use bise_tensor::atomic::write_atomic;
use bise_tensor::block::DType;
use bise_tensor::gguf::{GgufWriter, TensorSpec};
use recipe::{Facts, Role};
use source::{Model, Tensor};
use std::path::Path;

/// What to make of the source.
#[derive(Clone, Debug)]
pub struct Options {
    /// The type or recipe of the weights.
    pub target: Target,
    /// Gives all matrices the target's own type: no better types for tensors that deserve them.
    pub pure: bool,
    /// Threads to use; all cores when `None`.
    pub threads: Option<usize>,
}

impl Options {
    /// The usual options for a target.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            pure: false,
            threads: None,
        }
    }
}

/// What has been written.
#[derive(Clone, Debug)]
pub struct Report {
    /// Size of the file in bytes.
    pub file_len: u64,
    /// Size of the source's weights in bytes.
    pub source_len: u64,
    /// The tensors, in the order of the file.
    pub tensors: Vec<TensorReport>,
    /// What the user should know: fallbacks, absent parts.
    pub notes: Vec<String>,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorReport {
    /// GGUF's name.
    pub name: String,
    /// Values.
    pub elements: u64,
    /// The type in the source.
    pub from: DType,
    /// The type in the file.
    pub to: DType,
    /// Size in the file in bytes.
    pub len: u64,
}

impl Report {
    /// Bits of weights a value, over all tensors.
    pub fn bits_per_weight(&self) -> f64 {
        let bits: u64 = self.tensors.iter().map(|t| t.len * 8).sum();
        let elements: u64 = self.tensors.iter().map(|t| t.elements).sum();
        bits as f64 / elements.max(1) as f64
    }
}

/// Writes the model at `src`, a Hugging Face directory or a GGUF file, to `dst` at the types of `options`.
///
/// `dst` appears, or is replaced, only when all has been written; otherwise it stays as it was.
///
/// # Errors
/// When the source is damaged, incomplete or of an unknown kind, when `dst` is part of the source, or when
/// reading or writing fails.
pub fn quantize(
    src: &Path,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, QuantizeError> {
    source::refuse_overwrite(src, dst)?;
    let Model {
        mut metadata,
        tensors,
        mut notes,
    } = source::open(src)?;
    let facts = Facts::of(&metadata, &tensors).map_err(|e| QuantizeError::gguf(src, e))?;
    let types: Vec<DType> = tensors
        .iter()
        .map(|tensor| choose(tensor, options, &facts, &mut notes))
        .collect();
    metadata.insert("general.file_type", options.target.file_type());
    metadata.insert("general.quantization_version", QUANTIZATION_VERSION);

    let specs = tensors.iter().zip(&types).map(|(tensor, &dtype)| TensorSpec {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        dtype,
    });
    let layout = bise_tensor::gguf::Layout::new(&metadata, specs).map_err(|e| QuantizeError::gguf(dst, e))?;
    let report = Report {
        file_len: layout.file_len(),
        source_len: tensors.iter().map(Tensor::source_len).sum(),
        tensors: tensors
            .iter()
            .zip(layout.tensors().values())
            .map(report)
            .collect(),
        notes,
    };
    let pool = pipeline::pool(options.threads)?;
    progress.start(report.source_len);
    write_atomic(dst, |out| {
        let writer = GgufWriter::with_layout(out, layout).map_err(|e| QuantizeError::gguf(dst, e))?;
        pipeline::run(&pool, tensors.iter().zip(types), writer, progress)
    })
    .map_err(|e| e.at(dst))?;
    progress.finish();
    Ok(report)
}

/// GGML's number for the present layout of its quantized blocks.
const QUANTIZATION_VERSION: u32 = 2;

fn choose(tensor: &Tensor, options: &Options, facts: &Facts, notes: &mut Vec<String>) -> DType {
    let role = Role::of(&tensor.name, &tensor.dims);
    let wanted = if options.pure && role.is_matrix() {
        options.target.base()
    } else {
        options.target.dtype(role, facts)
    };
    let dtype = recipe::fit(wanted, tensor.dims[0]);
    if dtype != wanted {
        let (name, columns) = (&tensor.name, tensor.dims[0]);
        notes.push(format!(
            "{name}: rows of {columns} values are not whole {wanted} blocks, stored as {dtype}"
        ));
    }
    dtype
}

fn report((tensor, info): (&Tensor, &bise_tensor::gguf::TensorInfo)) -> TensorReport {
    TensorReport {
        name: info.name.clone(),
        elements: info.elements(),
        from: tensor.parts[0].dtype,
        to: info.dtype,
        len: info.len,
    }
}
