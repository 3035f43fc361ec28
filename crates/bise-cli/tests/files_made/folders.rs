//! Folders, made from those of small models.

use super::{PAGE, POINTER};
use crate::common::{file, fixture};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

#[path = "../../../../tools/quantize/tests/directory/native.rs"]
mod native;

fn copy(name: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::write(to.join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
    }
}

/// A small model in `folder`, with an entry of its configuration changed.
fn configured(folder: &Path, key: &str, value: Json) {
    copy("checkpoints/full", folder);
    let path = folder.join("config.json");
    let mut config: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    fs::write(path, config.to_string()).unwrap();
}

fn quantized(folder: &Path, method: &str) {
    configured(
        folder,
        "quantization_config",
        json!({"quant_method": method, "bits": 4}),
    );
}

/// A model's place in Hugging Face's cache.
pub fn cached(place: &Path) {
    fs::create_dir_all(place.join("refs")).unwrap();
    fs::write(place.join("refs/main"), "0a1b2c").unwrap();
    copy("checkpoints/full", &place.join("snapshots/0a1b2c"));
}

/// Zeros of a type and shape as a tensor, in the place of one that is called so.
fn add(folder: &Path, name: &str, dtype: Dtype, shape: &[usize]) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let zeros = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
    let added = TensorView::new(dtype, shape.to_vec(), &zeros).unwrap();
    let others = file.tensors().into_iter().filter(|(other, _)| other != name);
    let tensors: Vec<_> = others.chain([(name.to_owned(), added)]).collect();
    fs::write(path, serialize(tensors, None).unwrap()).unwrap();
}

/// Leaves out the tensors whose names end so.
fn without(folder: &Path, end: &str) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file
        .tensors()
        .into_iter()
        .filter(|(name, _)| !name.ends_with(end));
    fs::write(path, serialize(tensors, None).unwrap()).unwrap();
}

/// A Mixtral in two shards.
fn sharded(folder: &Path) {
    copy("tiny-mixtral", folder);
}

const SECOND: &str = "model-00002-of-00002.safetensors";
const INDEX: &str = "model.safetensors.index.json";

pub fn make(kind: &str, folder: &Path) -> String {
    let model = &folder.join("model");
    fs::create_dir(model).unwrap();
    let remove = |name: &str| fs::remove_file(model.join(name)).unwrap();
    let rename = |from: &str, to: &str| fs::rename(model.join(from), model.join(to)).unwrap();
    let write = |name: &str, text: &str| fs::write(model.join(name), text).unwrap();
    match kind {
        "Hugging Face's layout, one file" => copy("tiny-mistral", model),
        "Hugging Face's layout, shards and their index" => sharded(model),
        "Shards without an index, all of their numbers there" => {
            sharded(model);
            remove(INDEX);
        }
        "`model.safetensors` beside an index" => {
            copy("checkpoints/full", model);
            write(
                INDEX,
                "{\"weight_map\": {\"lm_head.weight\": \"model-00001-of-00002.safetensors\"}}",
            );
        }
        "Mistral's own layout (`params.json`, `consolidated*.safetensors`)" => {
            native::convert(&fixture("tiny-mistral"), model, native::Experts::Separate, 1);
        }
        "Fused experts, as transformers 5 saves them when asked to" => {
            copy("checkpoints/fused", model)
        }
        "A mixture of one expert" => copy("checkpoints/one-expert", model),
        "Tied embeddings, and an output matrix that differs from them" => {
            copy("checkpoints/tied-head", model)
        }
        "`layer_types` that are all the same" => copy("checkpoints/sliding", model),
        "`layer_types` that differ, as a Ministral 8B has them" => copy("family/ministral", model),
        "A model that sees images: its text part" => copy("family/ministral-3-8b", model),
        "The same in Mistral's own layout" => copy("family/ministral-3-8b-native", model),
        "Positions scaled by YaRN, from a length that is not said" => configured(
            model,
            "rope_parameters",
            json!({"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}),
        ),
        "A model with latent attention" => configured(model, "kv_lora_rank", json!(512)),
        "Biases in the configuration" => configured(model, "attention_bias", json!(true)),
        "Biases among the tensors" => {
            copy("checkpoints/full", model);
            add(model, "model.layers.0.self_attn.q_proj.bias", Dtype::F32, &[32]);
        }
        "Quantized already: GPTQ" => quantized(model, "gptq"),
        "Quantized already: AWQ" => quantized(model, "awq"),
        "Quantized already: bitsandbytes" => quantized(model, "bitsandbytes"),
        "FP8 (E4M3) with a scale for each matrix (`quant_method` is `fp8`)" => {
            copy("fp8/hf-tensor", model)
        }
        "FP8 with scales of blocks, which need not divide a matrix" => {
            copy("fp8/hf-block-cut", model)
        }
        "FP8 of compressed-tensors: a scale for each matrix, row or block" => {
            copy("fp8/ct-channel", model)
        }
        "FP8 in Mistral's own layout (`qformat_weight`)" => copy("fp8/native", model),
        "FP8 without its scales" => {
            copy("fp8/ct-channel", model);
            without(model, "weight_scale");
        }
        "FP8 of another form (`fbgemm_fp8`, `modelopt`)" => quantized(model, "fbgemm_fp8"),
        "Floats of eight bits with a larger exponent (E5M2)" => {
            copy("checkpoints/full", model);
            add(model, "lm_head.weight", Dtype::F8_E5M2, &[48, 32]);
        }
        "compressed-tensors of integers, or of four bits" => configured(
            model,
            "quantization_config",
            json!({
                "quant_method": "compressed-tensors", "format": "pack-quantized",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
            }),
        ),
        "Another architecture in `config.json`" => {
            configured(model, "architectures", json!(["LlamaForCausalLM"]))
        }
        "A shard is missing" => {
            sharded(model);
            remove(SECOND);
        }
        "A shard whose download has not ended" => {
            sharded(model);
            rename(SECOND, &format!("{SECOND}.incomplete"));
        }
        "No weights" => {
            copy("checkpoints/full", model);
            remove("model.safetensors");
        }
        "No configuration" => {
            copy("checkpoints/full", model);
            remove("config.json");
        }
        "PyTorch pickles" => {
            copy("checkpoints/full", model);
            rename("model.safetensors", "pytorch_model.bin");
        }
        "An adapter of PEFT" => {
            copy("adapters/plain", model);
            let path = model.join("adapter_config.json");
            let config = fs::read_to_string(&path).unwrap();
            let mut config: Json = serde_json::from_str(&config).unwrap();
            config["base_model_name_or_path"] = json!("somebody/base");
            fs::write(path, config.to_string()).unwrap();
        }
        "An adapter whose weights are missing" => {
            write(
                "adapter_config.json",
                "{\"base_model_name_or_path\": \"somebody/base\"}",
            );
        }
        "A Git-LFS pointer for weights" => {
            copy("checkpoints/full", model);
            write("model.safetensors", POINTER);
        }
        "A Git-LFS pointer for the tokenizer" => {
            copy("checkpoints/full", model);
            write("tokenizer.model", POINTER);
        }
        "A web page for `config.json`" => {
            copy("checkpoints/full", model);
            write("config.json", PAGE);
        }
        "A folder that holds one GGUF file" => {
            fs::write(model.join("m.gguf"), file("checkpoints/full", "F32")).unwrap();
            write("mmproj.gguf", "");
        }
        "A folder that holds several" => {
            write("a-Q4_K_M.gguf", "");
            write("b-00001-of-00002.gguf", "");
            write("b-00002-of-00002.gguf", "");
        }
        "Hugging Face's cache" => cached(&model.join("hub/models--org--name")),
        "A model's place in it" => cached(model),
        "Ollama's store" => {
            fs::create_dir(model.join("blobs")).unwrap();
            fs::create_dir(model.join("manifests")).unwrap();
        }
        "An empty folder" => {}
        _ => panic!("{kind}"),
    }
    "model".to_owned()
}
