//! What is wrong with a source is named, and nothing is written.

mod directory;

use bise_format::atomic::ClaimError;
use bise_format::full_text;
use bise_quantize::{Options, QuantizeError, Silent, Target, quantize};
use directory::{Model, mistral, mixtral, shard, shard_name};
use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const DOWN: &str = "model.layers.1.mlp.down_proj.weight";

fn try_quantize(src: &Path, dst: &Path) -> Result<(), QuantizeError> {
    quantize(
        src,
        dst,
        &Options::new(Target::from_name("Q8_0").unwrap()),
        &Silent,
    )
    .map(drop)
}

/// The error of quantizing `src`; checks that the destination's directory stays empty.
fn error(src: &Path) -> String {
    let out = TempDir::new().unwrap();
    let error = try_quantize(src, &out.path().join("out.gguf")).expect_err("an error");
    assert_eq!(
        fs::read_dir(out.path()).unwrap().count(),
        0,
        "leftovers after: {error}"
    );
    full_text(&error)
}

fn check(error: &str, expected: &[&str]) {
    for expected in expected {
        assert!(
            error.contains(expected),
            "`{error}` does not contain `{expected}`"
        );
    }
}

fn error_of(change: impl FnOnce(&mut Model)) -> String {
    let src = TempDir::new().unwrap();
    let mut model = mistral();
    change(&mut model);
    model.write(src.path(), Dtype::F32);
    error(src.path())
}

#[test]
fn configurations_that_are_not_understood() {
    let cases = [
        (
            "architectures",
            json!(["LlamaForCausalLM"]),
            "architecture LlamaForCausalLM",
        ),
        ("architectures", json!(null), "architecture none"),
        ("hidden_act", json!("gelu"), "hidden_act is gelu"),
        ("head_dim", json!(7), "head_dim is 7, expected an even number"),
        (
            "num_key_value_heads",
            json!(3),
            "4 attention heads cannot share 3",
        ),
        ("num_key_value_heads", json!(0), "num_key_value_heads is 0"),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        (
            "num_hidden_layers",
            json!(1_000_000_000_000u64),
            "num_hidden_layers is 1000000000000",
        ),
        ("vocab_size", json!(u64::MAX), "vocab_size is"),
        ("sliding_window", json!(0), "sliding_window is 0"),
        (
            "hidden_size",
            json!("64"),
            "config.json: not valid JSON for its purpose",
        ),
        ("rms_norm_eps", json!(-1.0), "rms_norm_eps is -1"),
        (
            "rope_parameters",
            json!({"rope_theta": 1e4, "rope_type": "yarn", "factor": 4}),
            "yarn without original_max_position_embeddings",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": 1e4, "rope_type": "yarn", "factor": -4, "original_max_position_embeddings": 8}),
            "factor is -4, expected a number from",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": 1, "rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 8}),
            "rope_theta is 1, expected more than 1",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": 1e4, "rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 0}),
            "original_max_position_embeddings is 0, expected 1 to",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": 1e4, "rope_type": "llama3", "factor": 4}),
            "rope_type is \"llama3\", which is not supported; expected default, linear or yarn",
        ),
        (
            "rope_parameters",
            json!({"rope_theta": 1e4, "llama_4_scaling_beta": 0.1}),
            "llama_4_scaling_beta without original_max_position_embeddings",
        ),
        (
            "layer_types",
            json!(["full_attention", "sliding_attention", "full_attention"]),
            "layer_types has 3 values for 2 layers",
        ),
        (
            "layer_types",
            json!(["full_attention", "linear_attention"]),
            "layer_types has linear_attention, which is not supported",
        ),
        (
            "layer_types",
            json!(["full_attention", "sliding_attention"]),
            "layer_types have a window, but sliding_window is null",
        ),
        (
            "architectures",
            json!(["MistralLarge3ForCausalLM"]),
            "latent attention (MLA)",
        ),
        ("kv_lora_rank", json!(512), "latent attention (MLA)"),
        (
            "architectures",
            json!(["Mistral3ForConditionalGeneration"]),
            "text_config is null",
        ),
        (
            "architectures",
            json!(["Ministral3ForCausalLM"]),
            "no llama_4_scaling_beta",
        ),
        ("rope_parameters", json!({"rope_theta": 0}), "rope_theta is 0"),
        (
            "rope_scaling",
            json!({"type": "linear"}),
            "RoPE is scaled without factor",
        ),
        (
            "quantization_config",
            json!({"quant_method": "gptq"}),
            "quantized already",
        ),
    ];
    for (key, value, expected) in cases {
        let error = error_of(|model| {
            if key == "rope_scaling" {
                model.config.as_object_mut().unwrap().remove("rope_parameters");
            }
            if key == "layer_types" {
                model.config["sliding_window"] = json!(null);
            }
            model.config[key] = value;
        });
        check(&error, &[expected]);
    }
    let mut model = mixtral();
    model.config["num_experts_per_tok"] = json!(4);
    let src = TempDir::new().unwrap();
    model.write(src.path(), Dtype::F32);
    check(&error(src.path()), &["num_experts_per_tok is 4 of 3 experts"]);
}

#[test]
fn tensors_that_are_missing_unexpected_or_wrong() {
    let found = error_of(|model| {
        model.tensors.remove(DOWN);
        model.tensors.remove("lm_head.weight");
        model.add("model.layers.2.input_layernorm.weight", &[64]);
        model.add("model.norm.weight", &[63]);
    });
    check(
        &found,
        &[
            "2 missing tensors: ",
            DOWN,
            "lm_head.weight",
            "1 unexpected tensors: model.layers.2.input_layernorm.weight",
            "1 wrong tensors: model.norm.weight has shape [63] instead of [64]",
        ],
    );
    let found = error_of(|model| model.tensors.clear());
    check(&found, &["21 missing tensors: ", ", ..."]);

    let src = TempDir::new().unwrap();
    mistral().write(src.path(), Dtype::U8);
    check(
        &error(src.path()),
        &["model.embed_tokens.weight is of type U8 instead of F32, F16 or BF16"],
    );
}

#[test]
fn values_that_are_no_numbers_or_too_large() {
    for (value, expected) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (1e6, "1000000 in row 3, column 5 is too large"),
    ] {
        let error = error_of(|model| model.tensors.get_mut(DOWN).unwrap().1[3 * 96 + 5] = value);
        check(&error, &[DOWN, "row 3, column 5", expected]);
    }
    // Vectors stay F32, which holds it.
    let src = TempDir::new().unwrap();
    let mut model = mistral();
    model.tensors.get_mut("model.norm.weight").unwrap().1[0] = 1e6;
    model.write(src.path(), Dtype::F32);
    try_quantize(src.path(), &src.path().join("out.gguf")).unwrap();
}

#[test]
fn shards_that_are_damaged_or_absent() {
    let sharded = || {
        let src = TempDir::new().unwrap();
        mistral().write_shards(src.path(), Dtype::BF16, 2);
        src
    };
    let second = |src: &TempDir| src.path().join(shard_name(1, 2));

    let src = sharded();
    let whole = fs::read(second(&src)).unwrap();
    fs::write(second(&src), []).unwrap();
    check(
        &error(src.path()),
        &["model-00002-of-00002.safetensors: the file is empty"],
    );
    for len in [4, 100, whole.len() - 1] {
        fs::write(second(&src), &whole[..len]).unwrap();
        check(
            &error(src.path()),
            &[
                "model-00002-of-00002.safetensors: truncated",
                &format!("{len} found"),
            ],
        );
    }
    fs::write(second(&src), [&whole[..], b"more"].concat()).unwrap();
    check(&error(src.path()), &["damaged safetensors header"]);

    let src = sharded();
    fs::remove_file(second(&src)).unwrap();
    check(&error(src.path()), &["model-00002-of-00002.safetensors"]);

    let src = sharded();
    fs::copy(src.path().join(shard_name(0, 2)), second(&src)).unwrap();
    check(&error(src.path()), &["is in another shard too"]);

    let src = sharded();
    let (name, tensor) = mistral().tensors.into_iter().next().unwrap();
    fs::write(
        second(&src),
        shard(&[(name.clone() + "x", tensor)].into(), Dtype::F32),
    )
    .unwrap();
    check(
        &error(src.path()),
        &[
            "index.json",
            "missing tensors",
            "(of model-00002-of-00002.safetensors)",
        ],
    );

    let src = sharded();
    let index = json!({"weight_map": {"a": "../../etc/passwd"}});
    fs::write(src.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    check(
        &error(src.path()),
        &["`../../etc/passwd` is not the name of a file"],
    );

    let src = TempDir::new().unwrap();
    check(&error(src.path()), &["the folder is empty"]);
    fs::write(src.path().join("config.json"), mistral().config.to_string()).unwrap();
    check(
        &error(src.path()),
        &["neither model.safetensors nor model.safetensors.index.json"],
    );
    check(&error(&src.path().join("absent")), &["absent"]);
    fs::write(src.path().join("noise.gguf"), b"noise").unwrap();
    check(
        &error(&src.path().join("noise.gguf")),
        &["noise.gguf: not a GGUF file"],
    );
}

#[test]
fn the_source_is_never_overwritten() {
    let src = TempDir::new().unwrap();
    mistral().write(src.path(), Dtype::F32);
    let gguf = src.path().join("model.gguf");
    try_quantize(src.path(), &gguf).unwrap();
    try_quantize(src.path(), &gguf).expect("an output in the source's directory is replaced");
    let before = fs::read(&gguf).unwrap();

    let link = src.path().join("link.gguf");
    fs::hard_link(&gguf, &link).unwrap();
    let indirect = src
        .path()
        .join("..")
        .join(src.path().file_name().unwrap())
        .join("model.gguf");
    let mut same: Vec<(PathBuf, PathBuf)> = vec![
        (gguf.clone(), gguf.clone()),
        (gguf.clone(), indirect),
        (gguf.clone(), link),
    ];
    for part in ["model.safetensors", "config.json"] {
        same.push((src.path().into(), src.path().join(part)));
    }
    #[cfg(unix)]
    {
        let symlink = src.path().join("symlink");
        std::os::unix::fs::symlink(&gguf, &symlink).unwrap();
        same.push((gguf.clone(), symlink.clone()));
        same.push((symlink, gguf.clone()));
    }
    for (src, dst) in same {
        let error = try_quantize(&src, &dst).unwrap_err();
        assert!(
            matches!(error, QuantizeError::Claim(ClaimError::IsInput { .. })),
            "{}: {error}",
            dst.display()
        );
    }
    assert_eq!(fs::read(&gguf).unwrap(), before);
    // A directory as the destination.
    assert!(try_quantize(&gguf, src.path()).is_err());
}

#[test]
fn an_old_destination_survives_a_failure() {
    let (src, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut model = mistral();
    model.tensors.get_mut(DOWN).unwrap().1[0] = f32::NAN;
    model.write(src.path(), Dtype::F32);
    let dst = out.path().join("out.gguf");
    fs::write(&dst, b"old").unwrap();
    assert!(try_quantize(src.path(), &dst).is_err());
    assert_eq!(fs::read(&dst).unwrap(), b"old");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A damaged header gives an error, or a model if the damage was to values only; never a panic.
    #[test]
    fn mutated_shards(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
                      digits in any::<bool>()) {
        let src = TempDir::new().unwrap();
        mixtral().write(src.path(), Dtype::BF16);
        let path = src.path().join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        for (at, byte) in edits {
            let at = at.index(header);
            bytes[at] = if digits && bytes[at].is_ascii_digit() { b'0' + byte % 10 } else { byte };
        }
        fs::write(&path, bytes).unwrap();
        let _ = try_quantize(src.path(), &src.path().join("out.gguf"));
    }

    #[test]
    fn mutated_json(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let src = TempDir::new().unwrap();
        mixtral().write_shards(src.path(), Dtype::BF16, 2);
        for name in ["config.json", "model.safetensors.index.json"] {
            let path = src.path().join(name);
            let good = fs::read(&path).unwrap();
            let (mut bytes, at) = (good.clone(), at.index(good.len()));
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            fs::write(&path, bytes).unwrap();
            let _ = try_quantize(src.path(), &src.path().join("out.gguf"));
            fs::write(&path, good).unwrap();
        }
    }
}

/// Ranges whose sums overflow.
#[test]
fn extreme_offsets() {
    let huge = u64::MAX / 8;
    let mut entries = serde_json::Map::new();
    let mut start = 0u64;
    for i in 0..9 {
        let end = start.saturating_add(huge);
        entries.insert(
            format!("t{i}"),
            json!({"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}),
        );
        start = end;
    }
    let src = TempDir::new().unwrap();
    mistral().write(src.path(), Dtype::F32);
    for entries in [
        json!(entries),
        json!({"a": {"dtype": "F32", "shape": [u64::MAX, 2], "data_offsets": [0, 8]}}),
    ] {
        let json = entries.to_string();
        let bytes = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
        fs::write(src.path().join("model.safetensors"), bytes).unwrap();
        let error = error(src.path());
        assert!(
            error.contains("truncated") || error.contains("damaged"),
            "{error}"
        );
    }
}
