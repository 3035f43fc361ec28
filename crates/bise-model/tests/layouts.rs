//! Files of older programs: each expert in tensors of its own.

mod common;

use bise_model::{ContextOptions, Model};
use bise_tensor::gguf::{Gguf, GgufWriter, TensorSpec};
use bise_tensor::mmap::FileBytes;
use common::{bits, logits};

/// The same model, with `ffn_gate_exps` and its like taken apart into `ffn_gate.0`, `ffn_gate.1` and so on.
fn per_expert(file: &[u8]) -> Vec<u8> {
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

#[test]
fn experts_in_tensors_of_their_own() {
    for target in ["F32", "Q4_K_M"] {
        let stacked = common::file("tiny-mixtral", target);
        let separate = per_expert(&stacked);
        let run = |file: Vec<u8>| {
            let model = Model::from_bytes(FileBytes::from_vec(file)).unwrap();
            bits(&logits(&model, &[1, 468, 502, 261, 450], ContextOptions::new(8)))
        };
        assert!(run(stacked) == run(separate), "{target}");
    }
}
