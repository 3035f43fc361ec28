//! What the tests share: models made from the fixtures, and reference values.
#![allow(dead_code)] // each test uses its part

use bise_model::{Context, ContextOptions, Model};
use bise_quantize::{Options, Silent, Target, quantize};
use bise_tensor::gguf::{Gguf, GgufWriter, Metadata, TensorSpec};
use bise_tensor::mmap::FileBytes;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// A path under `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

/// A Hugging Face directory under `fixtures/` as the bytes of a GGUF file, quantized to `target`.
pub fn file(directory: &str, target: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let options = Options::new(Target::from_name(target).expect("a known type"));
    quantize(&fixture(directory), &file, &options, &Silent).unwrap();
    std::fs::read(&file).unwrap()
}

/// The model in [`file`].
pub fn model(directory: &str, target: &str) -> Model {
    Model::from_bytes(FileBytes::from_vec(file(directory, target))).unwrap()
}

/// The model in the GGUF file `file` with other metadata.
pub fn edited(file: &[u8], edit: impl FnOnce(&mut Metadata)) -> Model {
    let gguf = Gguf::parse(file).unwrap();
    let mut metadata = gguf.metadata.clone();
    edit(&mut metadata);
    let specs = gguf.tensors.values().map(|info| TensorSpec {
        name: info.name.clone(),
        dims: info.dims.clone(),
        dtype: info.dtype,
    });
    let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
    for info in gguf.tensors.values() {
        writer.write_tensor(&info.name, gguf.bytes(file, info)).unwrap();
    }
    Model::from_bytes(FileBytes::from_vec(writer.finish().unwrap())).unwrap()
}

/// The model in the GGUF file `file` with another sliding window, or none.
pub fn with_window(file: &[u8], window: Option<u32>) -> Model {
    edited(file, |metadata| {
        metadata.insert("llama.attention.sliding_window", window.unwrap_or(0));
    })
}

/// The logits of every position, one after the other.
pub fn logits(model: &Model, tokens: &[u32], options: ContextOptions) -> Vec<f32> {
    let mut context = Context::new(model, options).unwrap();
    let mut logits = Vec::new();
    context
        .forward_all(tokens, |row| logits.extend_from_slice(row))
        .unwrap();
    logits
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Tokens and logits that transformers computed.
pub struct Golden {
    pub tokens: Vec<u32>,
    pub logits: Vec<f32>,
}

impl Golden {
    pub fn read(name: &str) -> Self {
        let bytes = std::fs::read(fixture("goldens").join(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let words = |name| file.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
        Self {
            tokens: words("tokens").into_iter().map(u32::from_le_bytes).collect(),
            logits: words("logits").into_iter().map(f32::from_le_bytes).collect(),
        }
    }
}
