//! From a model to a quantized file: types are chosen, slabs written, the result hashed and tested.

use crate::choose::role::ModelFacts;
use crate::choose::weigh::ErrorWeights;
use crate::choose::{budget, choice, sensitivity};
use crate::error::QuantizeError;
use crate::integrity::manifest::Manifest;
use crate::integrity::probe::{Prober, Probes};
use crate::options::Options;
use crate::progress::Progress;
use crate::report::Report;
use crate::write::adapters::{attach, untie};
use crate::write::pipeline;
use crate::write::source::{Source, StackedTensor, stack};
use crate::write::writing::{self, Contents, Listeners};
use bise_format::TensorName;
use bise_format::adapter::ScaledAdapter;
use bise_format::checkpoint::Checkpoint;
use bise_format::full_text;
use bise_format::gguf::{GgufError, Metadata, TensorSpec};
use bise_format::llama::Architecture;
use bise_kernels::block::DType;
use std::path::Path;

/// Writes the model at `src`, a Hugging Face directory or a GGUF file, to `dst` at the types of
/// `options`.
///
/// `dst` appears, or is replaced, only when all has been written; otherwise it stays as it was.
/// Until then the work lies beside it, as `.NAME.bise-part` with a `.NAME.bise-journal`: when the
/// program is killed, or stopped by `progress`, the next call for the same source and options goes
/// on from there and gives the same bytes. When this function fails, both are gone.
///
/// # Errors
/// When the source is damaged, incomplete or of an unknown kind, when `dst` is part of the source
/// or no place for a file, or when reading or writing fails.
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

/// [`quantize`], with `prober` to run the source, if it can be run where it lies, and the result:
/// the file then carries probes besides its hashes.
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
    let (mut checkpoint, mut notes) = (source.checkpoint, source.notes);
    let adapters = options.open_adapters(&mut notes)?;
    untie(&mut checkpoint, &adapters, &mut notes);
    let mut tensors = stack(src, &checkpoint, &mut notes)?;
    attach(&adapters, &checkpoint, &mut tensors)?;
    let mut metadata = checkpoint.metadata.clone();
    // What describes the old file's making does not describe the new one's.
    metadata.retain(|key| !key.starts_with("quantize.imatrix."));
    let pool = pipeline::pool(options.threads)?;
    let weighing =
        ErrorWeights::new(&tensors, options.imatrix.as_deref(), &mut metadata, &mut notes)?;
    describe_adapters(&adapters, &mut metadata).map_err(|e| QuantizeError::gguf(src, e))?;
    let tied = checkpoint.output_is_tied();
    let facts = ModelFacts::new(&metadata, tied, options.imatrix.is_some());
    let facts = facts.map_err(|e| QuantizeError::model(src, e))?;
    metadata.insert("general.file_type", options.target.file_type());
    metadata.insert("general.quantization_version", QUANTIZATION_VERSION);
    if let Some(keys) = options.sliding_window {
        let architecture = Architecture::of(&metadata).map_err(|e| QuantizeError::model(src, e))?;
        metadata.insert(architecture.key("attention.sliding_window"), keys);
        metadata.remove(&architecture.key("attention.sliding_window_pattern"));
    }
    let probes = prober.and_then(|prober| {
        let source = (checkpoint, &adapters[..]);
        probes(source, (&metadata, &tensors), prober, &mut notes)
    });
    let types = match options.budget {
        None => choice::choose(&tensors, options, &facts, &mut notes)?,
        Some(budget) => {
            let plan = budget::Plan::new(&metadata, &tensors, options, &facts, &mut notes)?;
            let manifest =
                Manifest::new(&metadata, specs(&tensors, &plan.any()).collect(), probes.clone());
            let header = manifest.map_err(|e| QuantizeError::gguf(dst, e))?;
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
    let manifest =
        Manifest::new(&metadata, specs, probes).map_err(|e| QuantizeError::gguf(dst, e))?;
    let mut report = Report::new(&manifest, &tensors, notes);
    let job = options
        .identity(src, &adapters, &manifest)
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
    let written =
        writing::write(dst, &job, manifest, contents, listeners).map_err(|e| e.at(dst))?;
    report.notes.extend(written.notes);
    progress.finish();
    if options.measure {
        let tensors = report.tensors.iter_mut().zip(written.errors);
        tensors.for_each(|(tensor, error)| tensor.error = Some(error.report()));
    }
    Ok(report)
}

/// What is merged, in the order in which it is: names of files, and their scales.
fn describe_adapters(adapters: &[ScaledAdapter], metadata: &mut Metadata) -> Result<(), GgufError> {
    const KEY: &str = "quantize.lora";
    if adapters.is_empty() {
        return Ok(());
    }
    let before = metadata.strings(KEY)?.unwrap_or_default().to_vec();
    let merged = adapters.iter().map(|scaled| {
        let name = scaled.adapter.path().file_name().unwrap_or_default();
        format!("{}:{}", name.to_string_lossy(), scaled.scale)
    });
    metadata.insert(KEY, before.into_iter().chain(merged).collect::<Vec<_>>());
    Ok(())
}

/// Probes for a model with embeddings. A source without quantized matrices is run as it lies, with
/// its adapters: that takes no memory.
fn probes(
    (source, adapters): (Checkpoint, &[ScaledAdapter]),
    (metadata, tensors): (&Metadata, &[StackedTensor]),
    prober: &Prober<'_>,
    notes: &mut Vec<String>,
) -> Option<Probes> {
    let mut probes = own_probes(metadata, tensors)?;
    let unquantized = |tensor: &StackedTensor| !tensor.source_type().is_quantized();
    if !tensors.iter().all(unquantized) {
        notes.push(
            "the source is quantized and was not run: probes hold this file's own logits only"
                .to_owned(),
        );
    } else {
        match prober.logits(source, adapters, probes.prompts()) {
            Ok(logits) => probes.set_source(logits),
            Err(error) => {
                notes.push(format!("the source could not be probed: {}", full_text(&error)))
            }
        }
    }
    Some(probes)
}

/// Probes that know nothing of the source, for a model with embeddings.
pub(crate) fn own_probes(metadata: &Metadata, tensors: &[StackedTensor]) -> Option<Probes> {
    let name = TensorName::Embedding.to_string();
    let embeddings = tensors.iter().find(|tensor| tensor.name == name)?;
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
