//! Hugging Face directories: `config.json`, safetensors shards, and a tokenizer.

mod config;
mod ends;
mod family;
mod files;
mod rope;
mod shards;

pub(crate) use config::{Config, SpecialTokens};
pub(crate) use family::{Family, Wrapping};
pub(crate) use files::Files;
pub(crate) use shards::{Shards, Stored};

use crate::TensorName;
use crate::checkpoint::{Checkpoint, Container};
use crate::error::OpenError;
use crate::expected::{Expected, Layout, Stacking};
use crate::foreign::Foreign;
use crate::fp8::{self, Fp8};
use crate::gguf::Metadata;
use crate::llama::TensorFaults;
use crate::locate::start_of;
use crate::names;
use crate::native;
use crate::tokenizer;
use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::{RowOrder, Tensor};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The model in `directory`, of whichever layout.
fn read_layout(directory: &Path, notes: &mut Vec<String>) -> Result<Layout, OpenError> {
    if native::is_native(directory) {
        return native::layout(directory, notes);
    }
    let config = Config::read(directory)?;
    Ok(Layout {
        name: "Hugging Face",
        shards: Shards::open(directory, "model", notes)?,
        expected: names::expected,
        config,
    })
}

/// A model that is only described: what a file of it would say, and its tensors.
pub struct Outline {
    /// The metadata of its architecture, as a GGUF file has them.
    pub metadata: Metadata,
    /// GGUF's names and dimensions, the fastest first; experts are stacked.
    pub tensors: Vec<(String, Vec<u64>)>,
}

/// The model called `name` that `config` describes, as a `config.json` of Hugging Face.
///
/// # Errors
/// When it lacks what a Mistral or Mixtral has.
pub fn outline(config: serde_json::Value, name: &str) -> Result<Outline, serde_json::Error> {
    let config = Config::outline(config);
    let config = config.map_err(<serde_json::Error as serde::de::Error>::custom)?;
    let experts = config.experts().unwrap_or(0);
    let expected = names::expected(&config, &Shards::none()).into_iter();
    Ok(Outline {
        metadata: config.metadata(name),
        tensors: expected
            .map(|expected| (expected.gguf.to_string(), expected.dims(experts)))
            .collect(),
    })
}

/// Reads the model in `directory`, of Hugging Face's layout or Mistral's own. Experts of separate
/// tensors stay so, named as in older GGUF files: nothing is copied.
pub(crate) fn open(directory: &Path) -> Result<(Checkpoint, Vec<String>), OpenError> {
    refuse_foreign(directory)?;
    let mut notes = Vec::new();
    let Layout {
        name,
        config,
        shards,
        expected,
    } = read_layout(directory, &mut notes)?;
    // Before names are made of a number that says nothing.
    let (wanted, there) = (config.tensors(), shards.names().count() as u64);
    if wanted > 2 * there + 4096 {
        let what = format!("a model of {wanted} tensors is described, but there are {there}");
        return Err(OpenError::unsupported(directory, what));
    }
    let expected = expected(&config, &shards);
    let quantization = config.quantization_config.as_ref();
    let blocks = quantization.map_or(Ok(None), fp8::blocks);
    let fp8 = Fp8 {
        shards: &shards,
        blocks: blocks.map_err(|what| OpenError::unsupported(directory, what))?,
    };
    let faults = compare(&expected, &fp8, &config, &mut notes);
    if !faults.is_empty() {
        return Err(OpenError::Tensors {
            path: directory.to_owned(),
            faults,
        });
    }
    notes.extend(passed_over(&shards, &config));
    if config.is_tied() == Some(true)
        && expected
            .iter()
            .any(|expected| expected.gguf == TensorName::Output)
    {
        notes.push(
            "the output matrix is not the embeddings, which the configuration ties it to: it is used, as by transformers 5"
                .to_owned(),
        );
    }
    let mut metadata = config.metadata(&name_of(directory));
    match tokenizer::read(directory, config.vocab_size)? {
        Some(tokenizer) => tokenizer.describe(&config.special_tokens(), &mut metadata, &mut notes),
        None => {
            // What llama.cpp calls a file for token ids only.
            metadata.insert("tokenizer.ggml.model", "none");
            notes.push(
                "no tokenizer.model, tokenizer.json or tekken.json: the model has no tokenizer"
                    .to_owned(),
            );
        }
    }
    ends::describe(directory, &mut metadata, &mut notes)?;
    let experts = config.experts().unwrap_or(1);
    let (mut tensors, mut source_names) = (IndexMap::new(), HashMap::new());
    for expected in expected {
        for (name, source, tensor) in views(directory, expected, &fp8, experts)? {
            source_names.insert(name.clone(), source);
            tensors.insert(name, tensor);
        }
    }
    if let Some(factors) = &config.positions.factors {
        tensors.insert(TensorName::RopeFreqs.to_string(), vector(factors));
    }
    let checkpoint = Checkpoint {
        metadata,
        tensors,
        source_names,
        container: Container::Safetensors {
            layout: name,
            parts: shards.files(),
        },
    };
    Ok((checkpoint, notes))
}

/// Numbers as a tensor in memory.
fn vector(values: &[f32]) -> Tensor {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = Tensor::from_bytes(DType::F32, &[values.len()], FileBytes::from_vec(bytes));
    tensor.expect("four bytes each")
}

/// Says that there is a part that sees images, if there is.
fn passed_over(shards: &Shards, config: &Config) -> Option<String> {
    if !config.has_vision() {
        return None;
    }
    let count = shards.names().filter(|name| names::is_vision(name)).count();
    (count > 0).then(|| {
        format!("the part that sees images is left out ({count} tensors): bise reads text")
    })
}

fn name_of(directory: &Path) -> String {
    let full = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    full.file_name()
        .map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Compares the tensors that are there with those that are expected. That some are passed over is
/// worth a note.
fn compare(
    expected: &[Expected],
    fp8: &Fp8<'_>,
    config: &Config,
    notes: &mut Vec<String>,
) -> TensorFaults {
    let shards = fp8.shards;
    let mut faults = TensorFaults::default();
    let mut wanted = HashSet::new();
    for expected in expected {
        for name in &expected.sources {
            // Of fused experts, two are in one.
            if !wanted.insert(name.as_str()) {
                continue;
            }
            match shards.get(name) {
                None => faults.missing.push(name.clone()),
                Some(stored) => faults.wrong.extend(fault(name, stored, expected, fp8)),
            }
        }
    }
    let extra = shards
        .names()
        .filter(|name| !wanted.contains(name) && !names::is_harmless(name, config));
    let (passed_over, extra): (Vec<_>, Vec<_>) =
        extra.partition(|name| fp8::is_of_activations(name));
    if let Some(first) = passed_over.first() {
        notes.push(format!(
            "{} scales of activations are passed over, {first} among them: \
             bise does not compute in FP8",
            passed_over.len()
        ));
    }
    for name in extra {
        let Some(weight) = fp8::weight_of(name).filter(|weight| shards.get(weight).is_some())
        else {
            faults.extra.push(name.to_owned());
            continue;
        };
        // That there is one for each FP8 weight has been looked at.
        let dtype = shards.get(&weight).and_then(Stored::value_type);
        if !dtype.is_some_and(DType::is_scaled) && !names::is_harmless(&weight, config) {
            let dtype = dtype.map_or("no float", DType::name);
            faults.wrong.push(format!(
                "{name} is a scale of {weight}, which is {dtype} and has none"
            ));
        }
    }
    faults
}

/// What is wrong with a tensor that should be as `expected`.
fn fault(name: &str, stored: &Stored, expected: &Expected, fp8: &Fp8<'_>) -> Option<String> {
    let shape = &expected.shape;
    if stored.shape != *shape {
        return Some(format!(
            "{name} has shape {:?} instead of {shape:?}",
            stored.shape
        ));
    }
    let is_matrix = shape.len() == 2 && expected.stacking.is_alone();
    match stored.value_type() {
        Some(dtype) if dtype.is_scaled() && is_matrix => fp8.scales(name, stored).err(),
        Some(dtype) if !dtype.is_scaled() => None,
        _ => {
            let eight = stored.dtype.to_string().starts_with("F8_");
            let cure = if eight {
                ": get the BF16 version of the model"
            } else {
                ""
            };
            let dtype = stored.dtype;
            Some(format!(
                "{name} is of type {dtype:?} instead of F32, F16 or BF16{cure}"
            ))
        }
    }
}

/// The tensors that `expected` describes, all of which are known to be there, with their names in
/// GGUF and in the source: one, or one for each expert.
fn views(
    directory: &Path,
    expected: Expected,
    fp8: &Fp8<'_>,
    experts: u64,
) -> Result<Vec<(String, String, Tensor)>, OpenError> {
    let mut views = Vec::new();
    for source in &expected.sources {
        let stored = fp8.shards.get(source).expect("compared with what is expected");
        let tensors = read(source, &expected, fp8, experts as usize).ok_or_else(|| {
            let (shape, dtype) = (&stored.shape, stored.dtype);
            let what = format!("tensor {source} cannot be read as {shape:?} values of {dtype:?}");
            OpenError::unsupported(directory, what)
        })?;
        for tensor in tensors {
            let expert = expected.gguf.expert(views.len() as u64);
            let name = match expected.stacking {
                Stacking::Parts | Stacking::Fused { .. } => expert.unwrap_or(expected.gguf),
                Stacking::None | Stacking::Rows | Stacking::Columns => expected.gguf,
            };
            views.push((name.to_string(), source.clone(), tensor));
        }
    }
    Ok(views)
}

/// What a source holds of the tensor that is expected: a matrix, or one for each expert, or all of
/// them stacked.
fn read(source: &str, expected: &Expected, fp8: &Fp8<'_>, experts: usize) -> Option<Vec<Tensor>> {
    let stored = fp8.shards.get(source)?;
    let dtype = stored.value_type()?;
    let shape: Vec<usize> = stored.shape.iter().map(|&d| d as usize).collect();
    let whole = Tensor::in_file(dtype, &shape, &stored.file, stored.range.clone())?;
    let whole = match dtype.is_scaled() {
        true => whole.with_scales(fp8.scales(source, stored).ok()?)?,
        false => whole,
    };
    let whole = match expected.order {
        RowOrder::Same => whole,
        order => whole.reordered(order)?,
    };
    Some(match expected.stacking {
        Stacking::None | Stacking::Parts => vec![whole],
        Stacking::Rows => vec![whole.stacked(experts)?],
        Stacking::Columns => vec![whole.stacked(experts)?.transposed()?],
        Stacking::Fused { part, of } => {
            let [_, rows, columns] = shape[..] else {
                return None;
            };
            let (shape, len) = (
                [rows / of as usize, columns],
                stored.range.len() / (experts * of as usize),
            );
            let start = |e: usize| stored.range.start + (e * of as usize + part as usize) * len;
            let expert = |e| Tensor::in_file(dtype, &shape, &stored.file, start(e)..start(e) + len);
            (0..experts).map(expert).collect::<Option<_>>()?
        }
    })
}

/// Refuses a directory whose small files are not what their names say: see [`Foreign`].
fn refuse_foreign(directory: &Path) -> Result<(), OpenError> {
    let entries = std::fs::read_dir(directory).map_err(|e| OpenError::io(directory, e))?;
    let is_read = |name: &str| {
        let json = name.ends_with(".json") || name.ends_with(".jinja");
        json || name.starts_with("tokenizer.model")
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !is_read(&name) || !path.is_file() {
            continue;
        }
        let start = start_of(&path)?;
        // An empty template is one, and what does not matter is not looked into.
        match Foreign::of(&start)
            .filter(|what| *what != Foreign::Empty || !name.ends_with(".jinja"))
        {
            Some(source) => return Err(OpenError::Foreign { path, source }),
            None => continue,
        }
    }
    Ok(())
}
