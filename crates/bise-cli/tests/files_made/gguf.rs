//! GGUF files, made from one of a small model.

use crate::common::{file, fixture, per_expert, split};
use bise_format::gguf::{Gguf, GgufWriter, Metadata, TensorSpec, Value};
use bise_kernels::block::DType;
use bise_kernels::tensor::Endian;
use std::fs;
use std::path::Path;

#[path = "../../../bise-format/tests/gguf_builder/mod.rs"]
mod gguf_builder;
use gguf_builder::{Tensor, build};

fn parts(file: &[u8]) -> (Metadata, Vec<Tensor>) {
    let gguf = Gguf::parse(file).unwrap();
    let tensor = |info: &bise_format::gguf::TensorInfo| {
        let data = gguf.bytes(file, info).to_vec();
        (info.name.clone(), info.dims.clone(), info.dtype, data)
    };
    let tensors = gguf.tensors.values().map(tensor).collect();
    (gguf.metadata, tensors)
}

fn written(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let specs = tensors.iter().map(|(name, dims, dtype, _)| TensorSpec {
        name: name.clone(),
        dims: dims.clone(),
        dtype: *dtype,
    });
    let mut writer = GgufWriter::new(Vec::new(), metadata, specs).unwrap();
    for (name, _, _, data) in tensors {
        writer.write_tensor(name, data).unwrap();
    }
    writer.finish().unwrap()
}

pub fn make(kind: &str, folder: &Path) -> String {
    let whole = file("checkpoints/full", "F32");
    let (mut metadata, mut tensors) = parts(&whole);
    // What it says of itself would be wrong.
    metadata.retain(|key| !key.starts_with("bise."));
    let set = |metadata: &mut Metadata, key: &str, value: Value| drop(metadata.insert(key, value));
    let vector = |n: usize, value: f32| (vec![n as u64], value.to_le_bytes().repeat(n));
    match kind {
        "Architecture `llama` or `mistral3`, dense or a mixture" => {}
        "Version 1, or big-endian" => {
            let bytes = build((1, Endian::Big), &metadata, &tensors);
            fs::write(folder.join("model.gguf"), bytes).unwrap();
            return "model.gguf".to_owned();
        }
        "Any part of a split file" => {
            let paths = split(&written(&metadata, &tensors), folder, 3, false);
            let name = paths[1].file_name().unwrap();
            return name.to_str().unwrap().to_owned();
        }
        "Experts in tensors of their own, as in 2023" => {
            (metadata, tensors) = parts(&per_expert(&file("checkpoints/fused", "F32")));
            metadata.retain(|key| !key.starts_with("bise."));
        }
        "Norms of shape [n, 1]; numbers written once for each layer, all the same" => {
            let norms = tensors.iter_mut().filter(|(name, ..)| name.contains("norm"));
            norms.for_each(|(_, dims, ..)| dims.push(1));
            set(
                &mut metadata,
                "llama.attention.head_count_kv",
                vec![2i32; 2].into(),
            );
        }
        "Positions scaled by 1 (`rope.scaling.*`), a neutral value of any other key" => {
            set(&mut metadata, "llama.rope.scaling.type", "linear".into());
            set(&mut metadata, "llama.rope.scaling.factor", 1f32.into());
            set(&mut metadata, "llama.logit_scale", 1f32.into());
        }
        "A key under `llama.` that nobody knows" => {
            set(&mut metadata, "llama.made_up", 1u32.into())
        }
        "A key that changes the result and is not applied" => {
            set(&mut metadata, "llama.logit_scale", 4f32.into());
        }
        "Positions scaled by YaRN or evenly (`rope.scaling.*`)" => {
            set(&mut metadata, "llama.rope.scaling.type", "yarn".into());
            set(&mut metadata, "llama.rope.scaling.factor", 4f32.into());
            let key = "llama.rope.scaling.original_context_length";
            set(&mut metadata, key, 16u32.into());
        }
        "YaRN without the length that it scales from" => {
            set(&mut metadata, "llama.rope.scaling.type", "yarn".into());
            set(&mut metadata, "llama.rope.scaling.factor", 4f32.into());
        }
        "Positions scaled in a way that is not known" => {
            set(&mut metadata, "llama.rope.scaling.type", "longrope".into());
        }
        "Factors of rotary frequencies (`rope_freqs.weight`)" => {
            let (dims, data) = vector(4, 2.0);
            tensors.push(("rope_freqs.weight".to_owned(), dims, DType::F32, data));
        }
        "Factors of rotary frequencies, of another number or none that divides" => {
            let (dims, data) = vector(4, 0.0);
            tensors.push(("rope_freqs.weight".to_owned(), dims, DType::F32, data));
        }
        "Biases, and any tensor that nothing uses" => {
            let (dims, data) = vector(32, 0.5);
            tensors.push(("blk.0.attn_q.bias".to_owned(), dims, DType::F32, data));
        }
        "A scale of a whole matrix, which some of NVFP4 have" => {
            let (dims, data) = vector(1, 0.5);
            tensors.push(("blk.0.attn_q.scale".to_owned(), dims, DType::F32, data));
        }
        "More layers than `llama.block_count` says" => {
            set(&mut metadata, "llama.block_count", 1u32.into())
        }
        "A tensor is missing" => tensors.retain(|(name, ..)| name != "output_norm.weight"),
        "Layers that differ" => set(
            &mut metadata,
            "llama.attention.head_count_kv",
            vec![2u32, 1].into(),
        ),
        "Another architecture" => set(&mut metadata, "general.architecture", "qwen3".into()),
        "A projector for images (mmproj)" => {
            set(&mut metadata, "general.architecture", "clip".into())
        }
        "A LoRA adapter" => {
            fs::copy(fixture("adapters/gguf/plain.gguf"), folder.join("model.gguf")).unwrap();
            return "model.gguf".to_owned();
        }
        "An importance matrix" => {
            metadata = [("general.type", Value::from("imatrix"))].into_iter().collect();
        }
        "Bytes that belong to nothing" | "The end is missing" => {}
        _ => panic!("{kind}"),
    }
    let mut bytes = written(&metadata, &tensors);
    match kind {
        "Bytes that belong to nothing" => bytes.extend([0; 4096]),
        "The end is missing" => bytes.truncate(bytes.len() / 2),
        _ => {}
    }
    fs::write(folder.join("model.gguf"), bytes).unwrap();
    "model.gguf".to_owned()
}
