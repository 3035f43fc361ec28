//! Jobs of the quantizer that are stopped, and gone on with.

use super::directory::with_tensors;
use bise_quantize::{Options, Silent, quantize};
use safetensors::Dtype;
use serde_json::json;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A source of 20 slabs in 12 matrices.
pub fn source() -> TempDir {
    let src = TempDir::new().unwrap();
    let model = with_tensors(json!({
        "architectures": ["MixtralForCausalLM"], "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 10000,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "num_local_experts": 3, "num_experts_per_tok": 1,
    }));
    model.write(src.path(), Dtype::BF16);
    src
}

/// What an undisturbed run writes.
pub fn undisturbed(src: &Path, options: &Options) -> Vec<u8> {
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    quantize(src, &dst, options, &Silent).unwrap();
    fs::read(dst).unwrap()
}

/// The files in a directory.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs to the end; gives the notes.
pub fn resume(src: &Path, dst: &Path, options: &Options, expected: &[u8]) -> String {
    let report = quantize(src, dst, options, &Silent).unwrap();
    assert!(fs::read(dst).unwrap() == expected, "other bytes");
    assert_eq!(names(dst.parent().unwrap()), ["out.gguf"]);
    report.notes.join("\n")
}
