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

mod budget;
mod choice;
pub mod cli;
mod error;
mod hf;
mod imatrix;
mod names;
mod permute;
mod pipeline;
mod progress;
mod recipe;
mod role;
mod sensitivity;
mod source;
mod synthetic;
mod tokenizer;
mod weigh;

pub use budget::Budget;
pub use choice::TensorType;
pub use error::{QuantizeError, TensorFaults};
pub use imatrix::{ImportanceMatrix, InputSums};
pub use progress::{Bar, Progress, Silent};
pub use recipe::Target;
pub use synthetic::synthetic;
pub use weigh::ErrorReport;

use bise_tensor::atomic::write_atomic;
use bise_tensor::block::DType;
use bise_tensor::gguf::{GgufWriter, TensorSpec};
use role::Facts;
use source::{Model, Tensor};
use std::path::{Path, PathBuf};
use weigh::{Job, Weighing};

/// What to make of the source.
#[derive(Clone, Debug)]
pub struct Options {
    /// The type or recipe of the weights.
    pub target: Target,
    /// Gives all matrices the target's own type: no better types for tensors that deserve them.
    pub pure: bool,
    /// Chooses types by measured errors within this size, instead of by the target's rules.
    pub budget: Option<Budget>,
    /// The type of the output matrix.
    pub output_type: Option<DType>,
    /// The type of the embedding.
    pub embedding_type: Option<DType>,
    /// Types of other tensors; the first pattern that a name matches counts.
    pub tensor_types: Vec<TensorType>,
    /// File of an importance matrix, which weighs errors.
    pub imatrix: Option<PathBuf>,
    /// Whether to measure the error of each tensor.
    pub measure: bool,
    /// Threads to use; all cores when `None`.
    pub threads: Option<usize>,
}

impl Options {
    /// The usual options for a target.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            pure: false,
            budget: None,
            output_type: None,
            embedding_type: None,
            tensor_types: Vec::new(),
            imatrix: None,
            measure: false,
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
#[derive(Clone, Debug, PartialEq)]
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
    /// How far the stored values are from the source's, when [`Options::measure`] asks for it.
    pub error: Option<ErrorReport>,
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
    let pool = pipeline::pool(options.threads)?;
    let weighing = Weighing::new(&tensors, options.imatrix.as_deref(), &mut metadata, &mut notes)?;
    let facts = Facts::of(&metadata, &tensors, options.imatrix.is_some());
    let facts = facts.map_err(|e| QuantizeError::gguf(src, e))?;
    metadata.insert("general.file_type", options.target.file_type());
    metadata.insert("general.quantization_version", QUANTIZATION_VERSION);
    let types = match options.budget {
        None => choice::choose(&tensors, options, &facts, &mut notes)?,
        Some(budget) => {
            let plan = budget::Plan::new(&metadata, &tensors, options, &facts, &mut notes)?;
            let errors = sensitivity::measure(&pool, &tensors, &plan, &weighing, progress)?;
            let types = plan.choose(budget, &tensors, &errors)?;
            metadata.insert("general.file_type", budget::file_type(&tensors, &types));
            types
        }
    };

    let specs = specs(&tensors, &types);
    let layout = bise_tensor::gguf::Layout::new(&metadata, specs).map_err(|e| QuantizeError::gguf(dst, e))?;
    let mut report = Report {
        file_len: layout.file_len(),
        source_len: tensors.iter().map(Tensor::source_len).sum(),
        tensors: tensors
            .iter()
            .zip(layout.tensors().values())
            .map(report)
            .collect(),
        notes,
    };
    progress.start(report.source_len);
    let jobs = tensors
        .iter()
        .zip(types)
        .enumerate()
        .map(|(i, (tensor, dtype))| Job {
            tensor,
            dtype,
            importance: weighing.importance(i),
            measure: options.measure,
        });
    let errors = write_atomic(dst, |out| {
        let writer = GgufWriter::with_layout(out, layout).map_err(|e| QuantizeError::gguf(dst, e))?;
        pipeline::run(&pool, jobs, writer, progress)
    })
    .map_err(|e| e.at(dst))?;
    progress.finish();
    if options.measure {
        let tensors = report.tensors.iter_mut().zip(errors);
        tensors.for_each(|(tensor, error)| tensor.error = Some(error.report()));
    }
    Ok(report)
}

/// The tensors as the file will have them.
fn specs(tensors: &[Tensor], types: &[DType]) -> impl Iterator<Item = TensorSpec> {
    tensors.iter().zip(types).map(|(tensor, &dtype)| TensorSpec {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        dtype,
    })
}

/// GGML's number for the present layout of its quantized blocks.
const QUANTIZATION_VERSION: u32 = 2;

fn report((tensor, info): (&Tensor, &bise_tensor::gguf::TensorInfo)) -> TensorReport {
    TensorReport {
        name: info.name.clone(),
        elements: info.elements(),
        from: tensor.parts[0].dtype,
        to: info.dtype,
        len: info.len,
        error: None,
    }
}
