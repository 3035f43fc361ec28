//! What the tests share: models made from the fixtures, and reference values.
#![allow(dead_code)] // each test uses its part

use bise_format::gguf::{Array, Gguf, GgufWriter, Metadata, TensorSpec, Value};
use bise_kernels::block::DType;
use bise_kernels::isa::Level;
use bise_kernels::mmap::FileBytes;
use bise_kernels::threads::Threads;
use bise_model::{Context, ContextOptions, KvType, Model};
use bise_quantize::{Options, Silent, Target, quantize};
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

/// A small model whose matrices are of type `dtype`, as llama.cpp quantized them.
pub fn type_file(dtype: DType) -> FileBytes {
    let path = fixture("types").join(format!("{dtype}.gguf"));
    FileBytes::map(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
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

/// The model in the GGUF file `file` with a sliding window in some layers: those that `pattern`,
/// again and again, says have one.
pub fn with_windows(file: &[u8], window: u32, pattern: &[bool]) -> Model {
    edited(file, |metadata| {
        let layers = metadata.u32("llama.block_count").unwrap().unwrap() as usize;
        let has: Vec<bool> = pattern.iter().copied().cycle().take(layers).collect();
        metadata.insert("llama.attention.sliding_window", window);
        metadata.insert(
            "llama.attention.sliding_window_pattern",
            Value::Array(Array::Bool(has)),
        );
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

/// Some `n` tokens of the model's vocabulary.
pub fn tokens(model: &Model, n: usize, seed: u32) -> Vec<u32> {
    let vocabulary = model.vocabulary_size() as u32;
    let token = |i: u32| (i + seed).wrapping_mul(2_654_435_761) % vocabulary;
    (0..n as u32).map(token).collect()
}

/// Levels and batch sizes at which the logits of `tokens` on so many threads are not those of the
/// scalar level at once; there must be none.
pub fn differing(
    model: &Model,
    tokens: &[u32],
    kv: KvType,
    threads: usize,
    batches: &[usize],
) -> Vec<(Level, usize)> {
    let options = ContextOptions {
        kv,
        prefill_chunk: tokens.len(),
        level: Level::SCALAR,
        ..ContextOptions::new(tokens.len())
    };
    let expected = bits(&logits(model, tokens, options));
    let pool = Threads::new(threads).unwrap();
    let same = |level, prefill_chunk| {
        let options = ContextOptions {
            prefill_chunk,
            level,
            ..options
        };
        bits(&pool.run(|| logits(model, tokens, options))) == expected
    };
    let all = Level::available()
        .into_iter()
        .flat_map(|level| batches.iter().map(move |&batch| (level, batch)));
    all.filter(|&(level, batch)| !same(level, batch)).collect()
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

/// Writes the tensors of a GGUF file to `count` files in `folder`, as `gguf-split` does; the first
/// may have none.
pub fn split(file: &[u8], folder: &Path, count: u32, first_has_tensors: bool) -> Vec<PathBuf> {
    let gguf = Gguf::parse(file).unwrap();
    let tensors: Vec<_> = gguf.tensors.values().collect();
    let filled = count - u32::from(!first_has_tensors);
    let each = tensors.len().div_ceil(filled as usize);
    let mut shares = tensors.chunks(each);
    let parts = (0..count).map(|number| {
        let mut metadata = if number == 0 {
            gguf.metadata.clone()
        } else {
            Metadata::new()
        };
        metadata.insert("split.no", number as u16);
        metadata.insert("split.count", count as u16);
        metadata.insert("split.tensors.count", tensors.len() as i32);
        let share = match number {
            0 if !first_has_tensors => &[],
            _ => shares.next().unwrap_or(&[]),
        };
        let specs = share.iter().map(|info| TensorSpec {
            name: info.name.clone(),
            dims: info.dims.clone(),
            dtype: info.dtype,
        });
        let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
        for info in share {
            writer.write_tensor(&info.name, gguf.bytes(file, info)).unwrap();
        }
        let path = folder.join(format!("model-{:05}-of-{count:05}.gguf", number + 1));
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        path
    });
    parts.collect()
}

/// The same model, with `ffn_gate_exps` and its like taken apart into `ffn_gate.0`, `ffn_gate.1`
/// and so on.
pub fn per_expert(file: &[u8]) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut tensors: Vec<(TensorSpec, &[u8])> = Vec::new();
    for info in gguf.tensors.values() {
        let bytes = gguf.bytes(file, info);
        let Some((stem, _)) = info.name.split_once("_exps") else {
            let (name, dims) = (info.name.clone(), info.dims.clone());
            tensors.push((
                TensorSpec {
                    name,
                    dims,
                    dtype: info.dtype,
                },
                bytes,
            ));
            continue;
        };
        let experts = info.dims[2] as usize;
        for (e, bytes) in bytes.chunks_exact(bytes.len() / experts).enumerate() {
            let (name, dims) = (format!("{stem}.{e}.weight"), info.dims[..2].to_vec());
            tensors.push((
                TensorSpec {
                    name,
                    dims,
                    dtype: info.dtype,
                },
                bytes,
            ));
        }
    }
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let mut writer = GgufWriter::new(Vec::new(), &gguf.metadata, specs).unwrap();
    for (spec, bytes) in &tensors {
        writer.write_tensor(&spec.name, bytes).unwrap();
    }
    writer.finish().unwrap()
}
