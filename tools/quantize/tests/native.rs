//! Mistral's own directories give the files that Hugging Face's give, byte for byte.

mod directory;
#[path = "directory/native.rs"]
mod native;

use bise_format::full_text;
use bise_format::gguf::Gguf;
use bise_quantize::{Options, Silent, Target, quantize};
use directory::{Model, mistral, mixtral};
use native::{Experts, convert, params};
use safetensors::Dtype;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

/// What becomes of the directory `src`, called `model` as all of them here are, so that the files
/// have one name inside.
fn written(src: &Path, target: &str) -> Vec<u8> {
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    let options = Options::new(Target::from_name(target).unwrap());
    quantize(src, &dst, &options, &Silent).unwrap_or_else(|error| panic!("{error}"));
    fs::read(&dst).unwrap()
}

/// A directory called `model`.
fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model");
    fs::create_dir(&path).unwrap();
    (folder, path)
}

/// A copy of a fixture under the name `model`.
fn copy(name: &str) -> (TempDir, PathBuf) {
    let (guard, path) = folder();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    (guard, path)
}

#[test]
fn the_same_files_from_either_layout() {
    let all = [
        Experts::Separate,
        Experts::SeparateOld,
        Experts::Stacked,
        Experts::StackedTurned,
    ];
    // Where hidden_dim is dim, turned and unturned matrices have one shape, and the old layout is
    // meant.
    let square = &all[..3];
    for (name, variants, target) in [
        ("tiny-mistral", &all[..1], "Q4_K_M"),
        ("tiny-mixtral", square, "Q4_0"),
        ("random/mistral-head-dim", &all[..1], "F16"),
        ("random/mistral-tied", &all[..1], "F32"),
        ("random/mixtral-4-top-3", &all[..], "Q8_0"),
        ("random/mixtral-tied-head-dim", &all[..], "F32"),
    ] {
        let (_hf_guard, hf) = copy(name);
        let expected = written(&hf, target);
        for (i, &variant) in variants.iter().enumerate() {
            let (_guard, path) = folder();
            convert(&hf, &path, variant, i + 1);
            assert!(written(&path, target) == expected, "{name}, {variant:?}");
        }
    }
}

/// The two layouts side by side, as some repositories have them: Hugging Face's counts.
#[test]
fn both_layouts_in_one_directory() {
    let (_guard, hf) = copy("tiny-mistral");
    let expected = written(&hf, "Q8_0");
    convert(&hf.clone(), &hf, Experts::Separate, 1);
    fs::write(hf.join("params.json"), "{}").unwrap();
    assert!(written(&hf, "Q8_0") == expected);
    // config.json alone does not make it one of Hugging Face's.
    let (_guard, other) = copy("tiny-mistral");
    convert(&other.clone(), &other, Experts::Separate, 2);
    fs::remove_file(other.join("model.safetensors")).unwrap();
    assert!(written(&other, "Q8_0") == expected);
}

#[test]
fn tokenizers_with_a_version_in_the_name() {
    let (_guard, hf) = copy("tiny-mistral");
    let expected = written(&hf, "Q8_0");
    for name in ["tokenizer.model.v1", "tokenizer.model.v3"] {
        let (_guard, path) = folder();
        convert(&hf, &path, Experts::Separate, 1);
        fs::rename(path.join("tokenizer.model"), path.join(name)).unwrap();
        assert!(written(&path, "Q8_0") == expected, "{name}");
    }
}

/// A native directory of `model` whose params.json has been changed.
fn changed(model: &Model, change: impl FnOnce(&mut Json)) -> (TempDir, PathBuf) {
    let hf = TempDir::new().unwrap();
    model.write(hf.path(), Dtype::BF16);
    let (guard, path) = folder();
    convert(hf.path(), &path, Experts::Separate, 1);
    let mut json = params(&model.config);
    change(&mut json);
    fs::write(path.join("params.json"), json.to_string()).unwrap();
    (guard, path)
}

#[test]
fn what_params_leave_out_has_its_usual_meaning() {
    let metadata = |change: fn(&mut Json)| {
        let (_guard, path) = changed(&mistral(), change);
        Gguf::parse(&written(&path, "Q8_0")).unwrap().metadata
    };
    let plain = metadata(|json| {
        for key in [
            "rope_theta",
            "norm_eps",
            "max_seq_len",
            "vocab_size",
            "tied_embeddings",
        ] {
            json.as_object_mut().unwrap().remove(key);
        }
    });
    assert_eq!(
        plain.f32("llama.rope.freq_base").unwrap(),
        Some(1e4),
        "with a window"
    );
    assert_eq!(
        plain.f32("llama.attention.layer_norm_rms_epsilon").unwrap(),
        Some(1e-5)
    );
    assert_eq!(plain.u32("llama.context_length").unwrap(), Some(32768));
    assert_eq!(plain.u32("llama.vocab_size").unwrap(), Some(40));
    let full = metadata(|json| {
        json.as_object_mut().unwrap().remove("rope_theta");
        json["sliding_window"] = json!(null);
        json["model_max_length"] = json!(77);
        json["vocab_size"] = json!(-1);
    });
    assert_eq!(
        full.f32("llama.rope.freq_base").unwrap(),
        Some(1e6),
        "without a window"
    );
    assert_eq!(
        full.u32("llama.context_length").unwrap(),
        Some(128),
        "max_seq_len comes first"
    );
    assert_eq!(full.u32("llama.attention.sliding_window").unwrap(), None);
    let list = metadata(|json| json["sliding_window"] = json!([24, 24]));
    assert_eq!(list.u32("llama.attention.sliding_window").unwrap(), Some(24));
}

fn error(path: &Path) -> String {
    let options = Options::new(Target::from_name("Q8_0").unwrap());
    let out = TempDir::new().unwrap();
    let error =
        quantize(path, &out.path().join("out.gguf"), &options, &Silent).expect_err("an error");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    full_text(&error)
}

#[test]
fn what_is_not_understood_is_named() {
    for (key, value, words) in [
        ("dim", json!(0), "dim is 0"),
        ("dim", json!("64"), "params.json: not valid JSON for its purpose"),
        ("n_heads", json!(3), "3 attention heads cannot share"),
        ("n_kv_heads", json!(0), "n_kv_heads is 0"),
        ("n_layers", json!(1u64 << 40), "n_layers is 1099511627776"),
        ("hidden_dim", json!(null), "params.json"),
        ("norm_eps", json!(0.0), "norm_eps is 0"),
        ("rope_theta", json!(-1.0), "rope_theta is -1"),
        ("sliding_window", json!([4, 8, 4]), "sliding_window has 3 values"),
        ("sliding_window", json!([]), "sliding_window has 0 values"),
        (
            "sliding_window",
            json!("wide"),
            "sliding_window is \"wide\", expected",
        ),
        ("kv_lora_rank", json!(512), "latent attention (MLA)"),
        ("quantization", json!({"qformat_weight": "fp8"}), "quantization"),
        ("use_biases", json!(true), "use_biases is true"),
        ("yarn", json!({"beta": 1}), "missing field `factor`"),
        (
            "yarn",
            json!({"factor": 16, "original_max_position_embeddings": 8, "beta": 0, "alpha": 1}),
            "yarn.beta is 0, expected",
        ),
        (
            "yarn",
            json!({"factor": 16, "original_max_position_embeddings": 0, "beta": 32, "alpha": 1}),
            "original_max_position_embeddings is 0",
        ),
        (
            "llama_4_scaling",
            json!({"beta": 1}),
            "missing field `original_max_position_embeddings`",
        ),
        (
            "moe",
            json!({"num_experts": 2, "num_experts_per_tok": 3}),
            "moe.num_experts_per_tok is 3 of 2",
        ),
        (
            "moe",
            json!({"num_experts": 0, "num_experts_per_tok": 0}),
            "moe.num_experts is 0",
        ),
        (
            "moe",
            json!({"num_experts": 2, "num_experts_per_tok": 1, "num_shared_experts": 1}),
            "num_shared_experts",
        ),
        (
            "moe",
            json!({"num_experts": 2, "num_experts_per_tok": 1}),
            "missing tensors",
        ),
        (
            "hidden_dim",
            json!(97),
            "layers.0.feed_forward.w1.weight has shape [96, 64] instead of [97, 64]",
        ),
    ] {
        let (_guard, path) = changed(&mistral(), |json| json[key] = value.clone());
        let error = error(&path);
        assert!(error.contains(words), "{key} {value}: {error}");
    }
    let (_guard, path) = changed(&mixtral(), |json| json["moe"] = json!(null));
    assert!(error(&path).contains("layers.0.feed_forward.w1.weight"));
}

#[test]
fn files_that_are_not_there() {
    let (_guard, path) = changed(&mistral(), |_| {});
    fs::rename(
        path.join("consolidated.safetensors"),
        path.join("consolidated.01.safetensors"),
    )
    .unwrap();
    assert!(error(&path).contains("consolidated.00.safetensors"));
    fs::remove_file(path.join("consolidated.01.safetensors")).unwrap();
    fs::write(path.join("consolidated.00.pth"), "pickle").unwrap();
    let message = error(&path);
    assert!(
        message.contains("a PyTorch pickle (consolidated.00.pth)"),
        "{message}"
    );
}
