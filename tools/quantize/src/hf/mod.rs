//! Hugging Face directories: `config.json`, safetensors shards, and a tokenizer.

mod config;
mod ends;
mod shards;

pub(crate) use config::{Config, SpecialTokens};
pub(crate) use shards::{Shards, bounded};

use crate::error::{QuantizeError, TensorFaults};
use crate::names::{self, Expected, Stacking};
use crate::native;
use crate::source::{Model, Part, Tensor};
use crate::tokenizer;
use bise_tensor::block::DType;
use bise_tensor::checkpoint::Container;
use bise_tensor::gguf::{Metadata, Value};
use bise_tensor::tensor::{self, RowOrder};
use safetensors::Dtype;
use shards::Stored;
use std::collections::HashSet;
use std::path::Path;

/// A model's configuration and tensors, by the names that its directory's layout has for them.
pub(crate) struct Layout {
    pub name: &'static str,
    pub config: Config,
    pub shards: Shards,
    /// The tensors that the configuration asks for, by the names that they have in this layout.
    pub expected: fn(&Config, &Shards) -> Vec<Expected>,
}

impl Layout {
    fn read(directory: &Path) -> Result<Self, QuantizeError> {
        if native::is_native(directory) {
            return native::layout(directory);
        }
        let config = Config::read(directory)?;
        Ok(Self {
            name: "Hugging Face",
            shards: Shards::open(directory, "model")?,
            expected: |config, _| names::expected(config),
            config,
        })
    }
}

/// Reads the model in `directory`, of Hugging Face's layout or Mistral's own.
pub(crate) fn open(directory: &Path) -> Result<Model, QuantizeError> {
    let Layout {
        name,
        config,
        shards,
        expected,
    } = Layout::read(directory)?;
    // Before names are made of a number that says nothing.
    let (wanted, there) = (config.tensors(), shards.names().count() as u64);
    if wanted > 2 * there + 4096 {
        let what = format!("a model of {wanted} tensors is described, but there are {there}");
        return Err(QuantizeError::unsupported(directory, what));
    }
    let expected = expected(&config, &shards);
    let faults = compare(&expected, &shards, &config);
    if !faults.is_empty() {
        return Err(QuantizeError::Tensors {
            path: directory.to_owned(),
            faults,
        });
    }
    let mut notes = Vec::new();
    let mut metadata = config.metadata(&name_of(directory));
    match tokenizer::read(directory, config.vocab_size)? {
        Some(tokenizer) => tokenizer.describe(&config.special_tokens(), &mut metadata, &mut notes),
        None => {
            // What llama.cpp calls a file for token ids only.
            metadata.insert("tokenizer.ggml.model", "none");
            notes.push(
                "no tokenizer.model, tokenizer.json or tekken.json: the file has no tokenizer".to_owned(),
            );
        }
    }
    ends::describe(directory, &mut metadata, &mut notes)?;
    let experts = config.experts().unwrap_or(1);
    let tensors = expected
        .into_iter()
        .map(|expected| tensor(directory, expected, &shards, experts))
        .collect::<Result<_, _>>()?;
    Ok(Model {
        metadata,
        tensors,
        notes,
        container: Container::Safetensors {
            layout: name,
            parts: shards.files(),
        },
    })
}

fn name_of(directory: &Path) -> String {
    let full = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    full.file_name()
        .map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn compare(expected: &[Expected], shards: &Shards, config: &Config) -> TensorFaults {
    let mut faults = TensorFaults::default();
    let mut wanted = HashSet::new();
    for expected in expected {
        for name in &expected.sources {
            wanted.insert(name.as_str());
            match shards.get(name) {
                None => faults.missing.push(name.clone()),
                Some(stored) => faults.wrong.extend(fault(name, stored, &expected.shape)),
            }
        }
    }
    let extra = shards
        .names()
        .filter(|name| !wanted.contains(name) && !names::is_harmless(name, config));
    faults.extra = extra.map(str::to_owned).collect();
    faults
}

/// What is wrong with a tensor that should have this shape.
fn fault(name: &str, stored: &Stored, shape: &[u64]) -> Option<String> {
    if stored.shape != shape {
        return Some(format!(
            "{name} has shape {:?} instead of {shape:?}",
            stored.shape
        ));
    }
    match dtype(stored.dtype) {
        Some(_) => None,
        None => Some(format!(
            "{name} is of type {:?} instead of F32, F16 or BF16",
            stored.dtype
        )),
    }
}

fn dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::Bf16),
        _ => None,
    }
}

/// The tensor that `expected` describes, all of which is known to be there.
fn tensor(
    directory: &Path,
    expected: Expected,
    shards: &Shards,
    experts: u64,
) -> Result<Tensor, QuantizeError> {
    let dims = expected.dims(experts);
    let part = |name: String| {
        let stored = shards.get(&name).expect("compared with what is expected");
        let dtype = dtype(stored.dtype).expect("compared with what is expected");
        let shape: Vec<usize> = stored.shape.iter().map(|&d| d as usize).collect();
        let tensor = tensor::Tensor::in_file(dtype, &shape, &stored.file, stored.range.clone());
        let ordered = match expected.order {
            RowOrder::Same => tensor,
            order => tensor.and_then(|tensor| tensor.reordered(order)),
        };
        let stacked = ordered.and_then(|tensor| match expected.stacking {
            Stacking::None | Stacking::Parts => Some(tensor),
            Stacking::Rows => tensor.stacked(experts as usize),
            Stacking::Columns => tensor.stacked(experts as usize)?.transposed(),
        });
        match stacked {
            Some(tensor) => Ok(Part { name, tensor }),
            None => Err(QuantizeError::unsupported(
                directory,
                format!("tensor {name} cannot be read as {shape:?} values of {dtype}"),
            )),
        }
    };
    Ok(Tensor {
        name: expected.gguf,
        dims,
        parts: expected.sources.into_iter().map(part).collect::<Result<_, _>>()?,
    })
}

/// A JSON file with few values, if it is there: one that would take much more memory than its bytes is refused.
pub(crate) fn read_bounded_json<T: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<Option<T>, QuantizeError> {
    match std::fs::read(path) {
        Ok(bytes) => {
            bounded(&bytes, bytes.len()).map_err(|what| QuantizeError::unsupported(path, what))?;
            serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| QuantizeError::json(path, e))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(QuantizeError::io(path, e)),
    }
}

/// Adds what `metadata` lacks.
pub(crate) fn set_default(metadata: &mut Metadata, key: &str, value: Option<Value>) {
    if let (None, Some(value)) = (metadata.get(key), value) {
        metadata.insert(key, value);
    }
}
