//! FP8 checkpoints: which scales belong to which weights, and what is wrong with others.

use bise_format::{full_text, open};
use bise_kernels::tensor::Tensor;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Type, shape and data.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// A checkpoint of the fixtures, to be changed.
struct Folder {
    config: Value,
    tensors: BTreeMap<String, Stored>,
    /// The names of the two files.
    names: [&'static str; 2],
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/fp8")
        .join(name)
}

impl Folder {
    fn read(name: &str) -> Self {
        let names = match name.starts_with("native") {
            true => ["params.json", "consolidated.safetensors"],
            false => ["config.json", "model.safetensors"],
        };
        let [config, tensors] = names.map(|file| fs::read(fixture(name).join(file)).unwrap());
        let tensors = SafeTensors::deserialize(&tensors).unwrap().tensors();
        let stored =
            |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        Self {
            config: serde_json::from_slice(&config).unwrap(),
            tensors: tensors
                .into_iter()
                .map(|(name, view)| (name, stored(view)))
                .collect(),
            names,
        }
    }

    /// What is said of the folder: notes, or an error.
    fn open(&self) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let [config, tensors] = self.names.map(|file| folder.path().join(file));
        fs::write(config, self.config.to_string()).unwrap();
        let views = self.tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        fs::write(tensors, serialize(views, None).unwrap()).unwrap();
        let opened = open(folder.path()).map_err(|error| full_text(&error));
        opened.map(|(_, notes)| notes)
    }

    fn set(&mut self, name: &str, dtype: Dtype, shape: &[usize]) {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        self.tensors
            .insert(name.to_owned(), (dtype, shape.to_vec(), vec![0; bytes]));
    }
}

const Q: &str = "model.layers.0.self_attn.q_proj";
const UP: &str = "model.layers.1.mlp.up_proj";

/// What is said of the fixture `name` after a change.
fn after(name: &str, change: impl FnOnce(&mut Folder)) -> Result<Vec<String>, String> {
    let mut folder = Folder::read(name);
    change(&mut folder);
    folder.open()
}

#[track_caller]
fn refused(name: &str, words: &str, change: impl FnOnce(&mut Folder)) {
    let error = after(name, change).expect_err(words);
    assert!(error.contains(words), "{name}, {words}: {error}");
}

#[test]
fn every_form_is_read() {
    for (name, block) in [
        ("hf-tensor", [96, 64]),
        ("hf-block", [32, 32]),
        ("hf-block-cut", [48, 128]),
        ("mixtral-block", [32, 32]),
        ("ct-tensor", [96, 64]),
        ("ct-channel", [1, 64]),
        ("ct-block", [24, 40]),
        ("native", [96, 64]),
        ("native-block", [16, 32]),
    ] {
        let (checkpoint, _) = open(&fixture(name)).unwrap();
        let scaled = |tensor: &&Tensor| tensor.scales().is_some();
        let matrices = checkpoint.tensors.values().filter(scaled).count();
        let expected = if name == "mixtral-block" {
            2 * (4 + 4 * 3)
        } else {
            2 * 7
        };
        assert_eq!(matrices, expected, "{name}");
        let up = ["blk.1.ffn_up.weight", "blk.1.ffn_up.0.weight"];
        let up = up.iter().find_map(|name| checkpoint.tensors.get(*name)).unwrap();
        assert_eq!(up.scales().unwrap().block(), block, "{name}");
        assert!(
            up.dtype().is_scaled() && !checkpoint.tensors["token_embd.weight"].dtype().is_scaled()
        );
    }
}

/// Types and scales decide, not the configuration's lists of modules.
#[test]
fn what_a_configuration_does_not_say_does_not_matter() {
    for name in ["hf-tensor", "ct-channel", "ct-tensor"] {
        after(name, |folder| {
            folder
                .config
                .as_object_mut()
                .unwrap()
                .remove("quantization_config");
        })
        .unwrap();
    }
    after("hf-block", |folder| {
        folder.config["quantization_config"]["modules_to_not_convert"] =
            json!([Q, UP, "model.vision_tower"]);
    })
    .unwrap();
    // Blocks that it does not mention are those of transformers.
    refused("hf-block", "[1, 1] for blocks of 128 x 128", |folder| {
        let config = folder.config["quantization_config"].as_object_mut().unwrap();
        config.remove("weight_block_size");
    });
    refused("hf-block", "the configuration has no size of blocks", |folder| {
        folder
            .config
            .as_object_mut()
            .unwrap()
            .remove("quantization_config");
    });
}

#[test]
fn scales_of_activations_are_passed_over() {
    for (name, count, first) in [
        ("hf-tensor", 14, "activation_scale"),
        ("ct-tensor", 14, "input_scale"),
        ("native", 14, "qscale_act"),
    ] {
        let notes = after(name, |_| {}).unwrap();
        let note = notes.iter().find(|note| note.contains("passed over")).unwrap();
        assert!(
            note.starts_with(&format!("{count} scales of activations")),
            "{note}"
        );
        assert!(note.contains(first), "{note}");
    }
    let notes = after("hf-block", |folder| {
        for cached in ["k_scale", "v_scale"] {
            folder.set(&format!("model.layers.0.self_attn.{cached}"), Dtype::F32, &[]);
        }
    });
    assert!(notes.unwrap().iter().any(|note| note.starts_with("2 scales")));
}

#[test]
fn scales_that_do_not_fit_are_named() {
    let scale = format!("{Q}.weight_scale_inv");
    let named = |what: &str| format!("{scale} {what}");
    refused(
        "hf-block",
        &format!("{Q}.weight is FP8 without a scale"),
        |folder| {
            folder.tensors.remove(&scale);
        },
    );
    refused(
        "hf-block",
        &named("has shape [3, 2] instead of [2, 2] for blocks of 32 x 32"),
        |folder| {
            folder.set(&scale, Dtype::F32, &[3, 2]);
        },
    );
    refused("hf-block", &named("has shape [64] instead of"), |folder| {
        folder.set(&scale, Dtype::F32, &[64]);
    });
    for dtype in [Dtype::F64, Dtype::U8, Dtype::F8_E4M3, Dtype::F8_E8M0, Dtype::I32] {
        let words = named(&format!("is of type {dtype:?} instead of F32, F16 or BF16"));
        refused("hf-block", &words, |folder| folder.set(&scale, dtype, &[2, 2]));
    }
    refused("hf-block", "has two scales", |folder| {
        folder.set(&format!("{Q}.weight_scale"), Dtype::F32, &[]);
    });
    let words = format!("{scale} is a scale of {Q}.weight, which is BF16 and has none");
    refused("hf-block", &words, |folder| {
        folder.set(&format!("{Q}.weight"), Dtype::BF16, &[64, 64]);
    });
    refused(
        "hf-block",
        "unexpected tensors: model.layers.9.x.weight_scale",
        |folder| {
            folder.set("model.layers.9.x.weight_scale", Dtype::F32, &[]);
        },
    );
}

#[test]
fn what_is_not_read_of_eight_bits_is_named() {
    let norm = "model.norm.weight";
    for (name, dtype, shape) in [
        (norm, Dtype::F8_E4M3, &[64][..]),
        (
            "model.layers.0.self_attn.q_proj.weight",
            Dtype::F8_E5M2,
            &[64, 64],
        ),
        (
            "model.layers.0.self_attn.q_proj.weight",
            Dtype::F8_E4M3FNUZ,
            &[64, 64],
        ),
    ] {
        let words =
            format!("{name} is of type {dtype:?} instead of F32, F16 or BF16: get the BF16");
        refused("ct-tensor", &words, |folder| {
            folder.tensors.remove(&format!("{Q}.weight_scale"));
            folder.set(name, dtype, shape);
        });
    }
    refused("hf-block", "compressed-tensors' pack-quantized", |folder| {
        folder.config["quantization_config"] = json!({
            "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
        });
    });
    refused("native", "quantization.qformat_weight is \"int4\"", |folder| {
        folder.config["quantization"]["qformat_weight"] = json!("int4");
    });
    refused("native-block", "as GPTQ", |folder| {
        folder.config["quantization_config"] = json!({"quant_method": "gptq"});
    });
}

/// The embeddings and the output matrix may be FP8 too.
#[test]
fn any_matrix_may_be_fp8() {
    for name in ["lm_head", "model.embed_tokens"] {
        let notes = after("ct-channel", |folder| {
            folder.set(&format!("{name}.weight"), Dtype::F8_E4M3, &[64, 64]);
            folder.set(&format!("{name}.weight_scale"), Dtype::BF16, &[64, 1]);
        });
        assert_eq!(notes.unwrap().len(), 1, "no tokenizer");
    }
}
