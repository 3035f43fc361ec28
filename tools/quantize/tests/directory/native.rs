//! Hugging Face directories turned into Mistral's own layout.
#![allow(dead_code)] // each test program uses its part

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How experts are named and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experts {
    /// `feed_forward.experts.E.w1.weight`
    Separate,
    /// `block_sparse_moe.experts.E.w1.weight`
    SeparateOld,
    /// `block_sparse_moe.w1`: hidden values as rows, those of w2 too.
    Stacked,
    /// As `Stacked`, but w2 has outputs as rows.
    StackedTurned,
}

/// Type, shape and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Writes the model in `hf` to `native`, in `files` files: `consolidated.safetensors` or
/// `consolidated.00.safetensors` and so on.
pub fn convert(hf: &Path, native: &Path, experts: Experts, files: usize) {
    let config: Json = serde_json::from_slice(&fs::read(hf.join("config.json")).unwrap()).unwrap();
    let mut tensors = BTreeMap::new();
    for entry in fs::read_dir(hf).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".safetensors") {
            let bytes = fs::read(&path).unwrap();
            for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                let stored = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
                tensors.insert(name.to_owned(), stored);
            }
        } else if name.starts_with("token") && hf != native {
            fs::copy(&path, native.join(name)).unwrap();
        }
    }
    let mut renamed = BTreeMap::new();
    for (name, tensor) in tensors {
        let (name, tensor) = rename(&config, &name, tensor, experts);
        renamed.insert(name, tensor);
    }
    if matches!(experts, Experts::Stacked | Experts::StackedTurned)
        && config["num_local_experts"].is_u64()
    {
        renamed = stack(&config, renamed, experts);
    }
    let names: Vec<&String> = renamed.keys().collect();
    for (i, names) in names.chunks(names.len().div_ceil(files)).enumerate() {
        let views = names.iter().map(|name| {
            let (dtype, shape, bytes) = &renamed[*name];
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        let name = match files {
            1 => "consolidated.safetensors".to_owned(),
            _ => format!("consolidated.{i:02}.safetensors"),
        };
        fs::write(native.join(name), serialize(views, None).unwrap()).unwrap();
    }
    fs::write(native.join("params.json"), params(&config).to_string()).unwrap();
}

/// The configuration in Mistral's words.
pub fn params(config: &Json) -> Json {
    let mut params = json!({
        "dim": config["hidden_size"], "n_layers": config["num_hidden_layers"], "hidden_dim": config["intermediate_size"],
        "n_heads": config["num_attention_heads"], "n_kv_heads": config["num_key_value_heads"],
        "norm_eps": config["rms_norm_eps"], "vocab_size": config["vocab_size"], "rope_theta": config["rope_theta"],
        "max_seq_len": config["max_position_embeddings"], "sliding_window": config["sliding_window"],
        "tied_embeddings": config["tie_word_embeddings"],
    });
    if config["head_dim"].is_u64() {
        params["head_dim"] = config["head_dim"].clone();
    }
    if config["num_local_experts"].is_u64() {
        params["moe"] = json!({
            "num_experts": config["num_local_experts"], "num_experts_per_tok": config["num_experts_per_tok"],
        });
    }
    params
}

fn rename(config: &Json, name: &str, tensor: Stored, experts: Experts) -> (String, Stored) {
    let module = match experts {
        Experts::Separate => "feed_forward",
        _ => "block_sparse_moe",
    };
    let table = [
        ("model.layers.", "layers."),
        ("model.embed_tokens.", "tok_embeddings."),
        ("model.norm.", "norm."),
        ("lm_head.", "output."),
        ("input_layernorm.", "attention_norm."),
        ("post_attention_layernorm.", "ffn_norm."),
        ("self_attn.q_proj.", "attention.wq."),
        ("self_attn.k_proj.", "attention.wk."),
        ("self_attn.v_proj.", "attention.wv."),
        ("self_attn.o_proj.", "attention.wo."),
        ("mlp.gate_proj.", "feed_forward.w1."),
        ("mlp.up_proj.", "feed_forward.w3."),
        ("mlp.down_proj.", "feed_forward.w2."),
        ("block_sparse_moe", module),
    ];
    let renamed = table
        .iter()
        .fold(name.to_owned(), |name, (hf, native)| name.replace(hf, native));
    let heads = match name {
        _ if name.contains("q_proj") => &config["num_attention_heads"],
        _ if name.contains("k_proj") => &config["num_key_value_heads"],
        _ => return (renamed, tensor),
    };
    (renamed, interleave(tensor, heads.as_u64().unwrap() as usize))
}

/// `[heads, 2, half, columns]` as `[heads, half, 2, columns]`.
fn interleave((dtype, shape, bytes): Stored, heads: usize) -> Stored {
    let (half, row) = (shape[0] / heads / 2, bytes.len() / shape[0]);
    let mut turned = Vec::new();
    for head in bytes.chunks_exact(2 * half * row) {
        for i in 0..half {
            for part in 0..2 {
                turned.extend_from_slice(&head[(part * half + i) * row..][..row]);
            }
        }
    }
    (dtype, shape, turned)
}

/// Puts the experts of each layer on each other.
fn stack(
    config: &Json,
    tensors: BTreeMap<String, Stored>,
    experts: Experts,
) -> BTreeMap<String, Stored> {
    let count = config["num_local_experts"].as_u64().unwrap();
    let mut stacked: BTreeMap<String, Stored> = BTreeMap::new();
    let expert = |name: &str| name.contains(".experts.");
    for (name, tensor) in tensors.iter().filter(|(name, _)| !expert(name)) {
        stacked.insert(name.clone(), tensor.clone());
    }
    for layer in 0..config["num_hidden_layers"].as_u64().unwrap() {
        for matrix in ["w1", "w2", "w3"] {
            let module = format!("layers.{layer}.block_sparse_moe");
            let turn = matrix == "w2" && experts == Experts::Stacked;
            let parts = (0..count).map(|e| {
                let part = tensors[&format!("{module}.experts.{e}.{matrix}.weight")].clone();
                if turn { transpose(part) } else { part }
            });
            let all = parts.reduce(|(dtype, mut shape, mut bytes), (_, more, part)| {
                shape[0] += more[0];
                bytes.extend(part);
                (dtype, shape, bytes)
            });
            stacked.insert(format!("{module}.{matrix}"), all.unwrap());
        }
    }
    stacked
}

fn transpose((dtype, shape, bytes): Stored) -> Stored {
    let size = bytes.len() / shape[0] / shape[1];
    let mut turned = Vec::with_capacity(bytes.len());
    for c in 0..shape[1] {
        for r in 0..shape[0] {
            turned.extend_from_slice(&bytes[(r * shape[1] + c) * size..][..size]);
        }
    }
    (dtype, vec![shape[1], shape[0]], turned)
}
