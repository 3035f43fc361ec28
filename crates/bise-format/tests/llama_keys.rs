//! Every key and tensor that PyPI gguf knows of the architecture `llama` has a meaning: see
//! `tools/fixtures/llama_keys.py`.

use bise_format::checkpoint::{Checkpoint, Container};
use bise_format::gguf::{Metadata, Value};
use bise_format::llama::{Meaning, check, check_metadata, meaning};
use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::Tensor;

fn listed(kind: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/gguf/llama_keys.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let names = json[kind].as_array().unwrap();
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", "llama");
    metadata.insert("llama.block_count", 1u32);
    metadata
}

#[test]
fn every_key_has_a_meaning() {
    let keys = listed("keys");
    assert!(keys.len() > 100);
    for key in keys {
        let meaning = meaning(&key)
            .unwrap_or_else(|| panic!("llama.{key} is not classified in llama/keys.rs"));
        // A value that no model has: what is not applied elsewhere, or harmless, is refused by
        // name.
        let mut metadata = metadata();
        metadata.insert(format!("llama.{key}"), Value::F32(0.375));
        let result = check_metadata(&metadata);
        match meaning {
            Meaning::Refused(_) => {
                let error = result.expect_err(&key).to_string();
                assert!(error.contains(&format!("llama.{key}")), "{error}");
            }
            Meaning::Harmless => assert!(result.unwrap().is_empty(), "{key}"),
            Meaning::Applied => {}
        }
    }
}

/// A model of one layer with tensors of these names.
fn model(names: &[&str], experts: u32) -> Checkpoint {
    let mut metadata = metadata();
    metadata.insert("llama.expert_count", experts);
    let one = Tensor::from_bytes(DType::F32, &[1], FileBytes::from_vec(vec![0; 4])).unwrap();
    Checkpoint {
        metadata,
        tensors: names
            .iter()
            .map(|name| ((*name).to_owned(), one.clone()))
            .collect(),
        container: Container::Gguf {
            version: 3,
            parts: 1,
        },
        source_names: Default::default(),
    }
}

const BOTH: [&str; 9] = [
    "token_embd.weight",
    "output_norm.weight",
    "output.weight",
    "blk.0.attn_norm.weight",
    "blk.0.attn_q.weight",
    "blk.0.attn_k.weight",
    "blk.0.attn_v.weight",
    "blk.0.attn_output.weight",
    "blk.0.ffn_norm.weight",
];
const DENSE: [&str; 3] = [
    "blk.0.ffn_gate.weight",
    "blk.0.ffn_up.weight",
    "blk.0.ffn_down.weight",
];
const MIXTURE: [&str; 4] = [
    "blk.0.ffn_gate_inp.weight",
    "blk.0.ffn_gate_exps.weight",
    "blk.0.ffn_up_exps.weight",
    "blk.0.ffn_down_exps.weight",
];

#[test]
fn every_tensor_is_used_or_refused_by_name() {
    let dense: Vec<&str> = BOTH.into_iter().chain(DENSE).collect();
    let mixture: Vec<&str> = BOTH.into_iter().chain(MIXTURE).collect();
    check(&model(&dense, 0)).unwrap();
    check(&model(&mixture, 8)).unwrap();
    let mut known: Vec<&str> = dense.iter().chain(&mixture).copied().collect();
    known.extend(["rope_freqs.weight", "blk.0.attn_rot_embd.weight"]);
    for name in listed("tensors") {
        let name = format!("{name}.weight");
        assert!(known.contains(&name.as_str()), "{name} is new");
    }
    let more = [
        "rope_freqs.weight",
        "rope_factors_long.weight",
        "blk.0.attn_rot_embd.weight",
        "blk.0.attn_q.bias",
        "blk.0.attn_q_norm.weight",
        "blk.0.attn_qkv.weight",
        "blk.0.ffn_gate_shexp.weight",
        "blk.0.ffn_gate_exps.weight",
        "blk.0.ffn_gate.00.weight",
        "blk.1.attn_norm.weight",
        "blk.00.attn_norm.weight",
        "output_norm.bias",
        "output.bias",
        "cls.weight",
    ];
    for name in more {
        let names: Vec<&str> = dense.iter().copied().chain([name]).collect();
        let error = check(&model(&names, 0)).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
    for (full, experts) in [(&dense, 0), (&mixture, 8)] {
        for name in full.iter().filter(|name| **name != "output.weight") {
            let names: Vec<&str> = full.iter().copied().filter(|other| other != name).collect();
            let error = check(&model(&names, experts)).expect_err(name).to_string();
            assert!(error.contains(&format!("1 missing tensors: {name}")), "{error}");
        }
    }
}

#[test]
fn counts_that_no_file_has_tensors_for() {
    for key in ["llama.block_count", "llama.expert_count"] {
        let mut model = model(&["blk.0.ffn_gate.0.weight"], 0);
        model.metadata.insert(key, u64::MAX);
        let error = check(&model).expect_err(key).to_string();
        assert!(error.contains(key), "{error}");
    }
}
