//! Hugging Face directories and GGUF files in, quantized GGUF files out.
//!
//! ```text
//! SRC --> Checkpoint --> source --> recipe --> pipeline --> DST, all or nothing
//!                        (experts stacked)
//! ```
//!
//! Weights are read through maps and pass in slabs of rows: memory does not grow with the model. The output
//! depends on the input and the options alone, not on the number of threads.
#![forbid(unsafe_code)]

mod budget;
mod choice;
mod error;
mod imatrix;
mod journal;
mod pipeline;
mod probe;
mod progress;
mod queue;
mod recipe;
mod repack;
mod role;
mod seal;
mod sensitivity;
mod slab;
mod source;
mod synthetic;
pub mod types;
mod verify;
mod weigh;
mod writing;

pub use budget::Budget;
pub use choice::TensorType;
pub use error::{OptionError, QuantizeError};
pub use imatrix::{ImatrixEntry, ImportanceMatrix};
pub use probe::{LayersDone, Prober};
pub use progress::{Progress, Silent};
pub use recipe::Target;
pub use repack::repack;
pub use source::Source;
pub use synthetic::Synthetic;
pub use verify::{Fault, FaultKind, Verdict, verify, verify_bytes};
pub use weigh::ErrorReport;

use bise_format::atomic::claim;
use bise_format::checkpoint::Checkpoint;
use bise_format::gguf::{Metadata, TensorSpec};
use bise_kernels::block::DType;
use probe::Probes;
use role::Facts;
use seal::Seal;
use source::{StackedTensor, stack};
use std::path::{Path, PathBuf};
use weigh::Weighing;
use writing::{Contents, Listeners};

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
    /// Whether matrices that are quantized already may be quantized to other types.
    pub allow_requantize: bool,
    /// Whether to measure the error of each tensor.
    pub measure: bool,
    /// Threads to use; all cores when `None`.
    pub threads: Option<usize>,
    /// What the file says of the sliding window: so many keys, or none for 0; as the source says when `None`.
    pub sliding_window: Option<u32>,
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
            allow_requantize: true,
            measure: false,
            threads: None,
            sliding_window: None,
        }
    }
}

impl Options {
    /// Checks what can be known before work: that all types are ones that can be written, and that `dst` is a place for a file
    /// and none that is read, neither `src` nor the importance matrix.
    ///
    /// # Errors
    /// Says which is not.
    pub fn check(&self, src: &Path, dst: &Path) -> Result<(), QuantizeError> {
        self.check_types()?;
        let read: Vec<&Path> = [src].into_iter().chain(self.imatrix.as_deref()).collect();
        Ok(claim(dst, &read)?)
    }

    /// All types must be ones that can be written.
    fn check_types(&self) -> Result<(), QuantizeError> {
        let set = [Some(self.target.base()), self.output_type, self.embedding_type];
        let by_pattern = self.tensor_types.iter().map(TensorType::dtype);
        let mut asked = set.into_iter().flatten().chain(by_pattern);
        match asked.find(|dtype| !dtype.can_quantize()) {
            Some(dtype) => Err(QuantizeError::ReadOnly(dtype)),
            None => Ok(()),
        }
    }

    /// The job that is done with these options: what the bytes of the output depend on.
    fn identity(&self, src: &Path, seal: &Seal) -> std::io::Result<seal::Digest> {
        writing::identity(src, self.imatrix.as_deref(), &self.spelled_out(), seal)
    }

    /// The options that the bytes of the output depend on; of the importance matrix the file counts, not its name.
    fn spelled_out(&self) -> String {
        let Self {
            target,
            pure,
            budget,
            output_type,
            embedding_type,
            tensor_types,
            sliding_window,
            imatrix: _,
            allow_requantize: _,
            measure: _,
            threads: _,
        } = self;
        let budget = match budget {
            None => "none".to_owned(),
            Some(Budget::Bytes(bytes)) => format!("{bytes} bytes"),
            Some(Budget::BitsPerWeight(bits)) => format!("{:016x} bits of a weight, as f64", bits.to_bits()),
        };
        let dtype = |dtype: &Option<DType>| dtype.map_or("none", |dtype| dtype.name());
        let kind = match target {
            Target::Plain(_) => "type",
            Target::Recipe(_) => "recipe",
        };
        let fields = [
            ("target", format!("{kind} {}", target.name())),
            ("pure", pure.to_string()),
            ("budget", budget),
            ("output_type", dtype(output_type).to_owned()),
            ("embedding_type", dtype(embedding_type).to_owned()),
            (
                "sliding_window",
                sliding_window.map_or("none".to_owned(), |keys| keys.to_string()),
            ),
        ];
        let types = tensor_types.iter().map(|rule| ("tensor_type", rule.to_string()));
        let lines = fields.into_iter().chain(types);
        lines.map(|(name, value)| format!("{name}={value}\n")).collect()
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
    fn new(seal: &Seal, tensors: &[StackedTensor], notes: Vec<String>) -> Self {
        let layout = seal.layout();
        Self {
            file_len: layout.file_len(),
            source_len: tensors.iter().map(StackedTensor::source_len).sum(),
            tensors: tensors
                .iter()
                .zip(layout.tensors().values())
                .map(report)
                .collect(),
            notes,
        }
    }

    /// Bits of weights a value, over all tensors.
    pub fn bits_per_weight(&self) -> f64 {
        let bits: u64 = self.tensors.iter().map(|t| t.len * 8).sum();
        let elements: u64 = self.tensors.iter().map(|t| t.elements).sum();
        bits as f64 / elements.max(1) as f64
    }
}

/// Writes the model at `src`, a Hugging Face directory or a GGUF file, to `dst` at the types of `options`.
///
/// `dst` appears, or is replaced, only when all has been written; otherwise it stays as it was. Until then the work lies
/// beside it, as `.NAME.bise-part` with a `.NAME.bise-journal`: when the program is killed, or stopped by `progress`, the
/// next call for the same source and options goes on from there and gives the same bytes. When this function fails, both
/// are gone.
///
/// # Errors
/// When the source is damaged, incomplete or of an unknown kind, when `dst` is part of the source or no place for a file, or when
/// reading or writing fails.
///
/// ```
/// use bise_quantize::{Options, Silent, Target, quantize};
/// use bise_format::checkpoint::Checkpoint;
/// use std::path::Path;
///
/// let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mistral");
/// let folder = tempfile::tempdir()?;
/// let dst = folder.path().join("tiny.gguf");
/// let report = quantize(&src, &dst, &Options::new(Target::from_name("Q8_0").unwrap()), &Silent)?;
/// assert!(report.file_len < report.source_len);
/// assert!(Checkpoint::open(&dst)?.tensors.contains_key("output.weight"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn quantize(
    src: &Path,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, QuantizeError> {
    quantize_and_probe(src, dst, options, progress, None)
}

/// [`quantize`], with `prober` to run the source, if it can be run where it lies, and the result: the file then carries
/// probes besides its hashes.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_and_probe(
    src: &Path,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
    prober: Option<&Prober<'_>>,
) -> Result<Report, QuantizeError> {
    options.check(src, dst)?;
    quantize_source(Source::open(src)?, dst, options, progress, prober)
}

/// [`quantize_and_probe`], of a source that is open.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_source(
    source: Source,
    dst: &Path,
    options: &Options,
    progress: &dyn Progress,
    prober: Option<&Prober<'_>>,
) -> Result<Report, QuantizeError> {
    let src = &*source.path;
    options.check(src, dst)?;
    let mut notes = source.notes;
    let tensors = stack(src, &source.checkpoint, &mut notes)?;
    let mut metadata = source.checkpoint.metadata.clone();
    // What describes the old file's making does not describe the new one's.
    metadata.retain(|key| !key.starts_with("quantize.imatrix."));
    let pool = pipeline::pool(options.threads)?;
    let weighing = Weighing::new(&tensors, options.imatrix.as_deref(), &mut metadata, &mut notes)?;
    let facts = Facts::of(&metadata, &tensors, options.imatrix.is_some());
    let facts = facts.map_err(|e| QuantizeError::gguf(src, e))?;
    metadata.insert("general.file_type", options.target.file_type());
    metadata.insert("general.quantization_version", QUANTIZATION_VERSION);
    if let Some(keys) = options.sliding_window {
        metadata.insert("llama.attention.sliding_window", keys);
    }
    let probes =
        prober.and_then(|prober| probes(source.checkpoint, (&metadata, &tensors), prober, &mut notes));
    let types = match options.budget {
        None => choice::choose(&tensors, options, &facts, &mut notes)?,
        Some(budget) => {
            let plan = budget::Plan::new(&metadata, &tensors, options, &facts, &mut notes)?;
            let sealed = Seal::new(&metadata, specs(&tensors, &plan.any()).collect(), probes.clone());
            let header = sealed.map_err(|e| QuantizeError::gguf(dst, e))?;
            let plan = plan.after(header.layout().data_offset());
            let errors = sensitivity::measure(&pool, &tensors, &plan, &weighing, progress)?;
            let types = plan.choose(budget, &tensors, &errors, &mut notes)?;
            metadata.insert("general.file_type", budget::file_type(&tensors, &types));
            types
        }
    };

    if !options.allow_requantize {
        choice::refuse_requantizing(src, &tensors, &types)?;
    }
    let specs = specs(&tensors, &types).collect();
    let seal = Seal::new(&metadata, specs, probes).map_err(|e| QuantizeError::gguf(dst, e))?;
    let mut report = Report::new(&seal, &tensors, notes);
    let job = options
        .identity(src, &seal)
        .map_err(|e| QuantizeError::io(src, e))?;
    progress.start(report.source_len);
    let listeners = Listeners { progress, prober };
    let contents = Contents {
        tensors: &tensors,
        weighing: Some(&weighing),
        measure: options.measure,
        pool: &pool,
        verbatim: false,
    };
    let written = writing::write(dst, &job, seal, contents, listeners).map_err(|e| e.at(dst))?;
    report.notes.extend(written.notes);
    progress.finish();
    if options.measure {
        let tensors = report.tensors.iter_mut().zip(written.errors);
        tensors.for_each(|(tensor, error)| tensor.error = Some(error.report()));
    }
    Ok(report)
}

/// Probes for a model with embeddings. A source without quantized matrices is run as it lies: that takes no memory.
fn probes(
    source: Checkpoint,
    (metadata, tensors): (&Metadata, &[StackedTensor]),
    prober: &Prober<'_>,
    notes: &mut Vec<String>,
) -> Option<Probes> {
    let mut probes = own_probes(metadata, tensors)?;
    let unquantized = |tensor: &StackedTensor| !tensor.source_type().is_quantized();
    if !tensors.iter().all(unquantized) {
        notes.push(
            "the source is quantized and was not run: probes hold this file's own logits only".to_owned(),
        );
    } else {
        match prober.logits(source, probes.prompts()) {
            Ok(logits) => probes.set_source(logits),
            Err(why) => notes.push(format!("the source could not be probed: {why}")),
        }
    }
    Some(probes)
}

/// Probes that know nothing of the source, for a model with embeddings.
fn own_probes(metadata: &Metadata, tensors: &[StackedTensor]) -> Option<Probes> {
    let embeddings = tensors.iter().find(|tensor| tensor.name == "token_embd.weight")?;
    Some(Probes::new(metadata, embeddings.rows()))
}

/// The tensors as the file will have them.
fn specs(tensors: &[StackedTensor], types: &[DType]) -> impl Iterator<Item = TensorSpec> {
    tensors.iter().zip(types).map(|(tensor, &dtype)| TensorSpec {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        dtype,
    })
}

/// GGML's number for the present layout of its quantized blocks.
const QUANTIZATION_VERSION: u32 = 2;

fn report((tensor, info): (&StackedTensor, &bise_format::gguf::TensorInfo)) -> TensorReport {
    TensorReport {
        name: info.name.clone(),
        elements: info.elements(),
        from: tensor.source_type(),
        to: info.dtype,
        len: info.len,
        error: None,
    }
}
