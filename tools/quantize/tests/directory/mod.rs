//! Small Hugging Face directories, made in the test.
#![allow(dead_code)] // each test program uses its part

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Shape, slowest dimension first, and values.
pub type Tensor = (Vec<usize>, Vec<f32>);

/// A model: configuration and tensors, to be changed and written.
#[derive(Clone)]
pub struct Model {
    pub config: Json,
    pub tensors: BTreeMap<String, Tensor>,
}

/// A Mistral: 2 layers, 4 heads of 8, 2 key-value heads, 64 wide.
pub fn mistral() -> Model {
    with_tensors(json!({
        "architectures": ["MistralForCausalLM"], "hidden_act": "silu", "hidden_size": 64, "head_dim": 8,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 40, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "sliding_window": 16,
        "rope_parameters": {"rope_theta": 12345.0, "rope_type": "default"}, "tie_word_embeddings": false,
        "bos_token_id": 1, "eos_token_id": [2, 7],
    }))
}

/// A Mixtral of 3 experts, top 2.
pub fn mixtral() -> Model {
    with_tensors(json!({
        "architectures": ["MixtralForCausalLM"], "hidden_act": "silu", "hidden_size": 64,
        "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 1,
        "vocab_size": 40, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "sliding_window": null,
        "rope_theta": 1e6, "num_local_experts": 3, "num_experts_per_tok": 2,
    }))
}

/// The tensors that `config` asks for, by Hugging Face's own naming.
pub fn with_tensors(config: Json) -> Model {
    let get = |key: &str| config[key].as_u64().unwrap_or(0) as usize;
    let (d, f, vocab) = (get("hidden_size"), get("intermediate_size"), get("vocab_size"));
    let head_dim = config["head_dim"]
        .as_u64()
        .map_or(d / get("num_attention_heads"), |n| n as usize);
    let (q, kv) = (
        get("num_attention_heads") * head_dim,
        get("num_key_value_heads") * head_dim,
    );
    let mut model = Model {
        config: config.clone(),
        tensors: BTreeMap::new(),
    };
    model.add("model.embed_tokens.weight", &[vocab, d]);
    model.add("model.norm.weight", &[d]);
    model.add("lm_head.weight", &[vocab, d]);
    for n in 0..get("num_hidden_layers") {
        let mut add = |name: &str, shape: &[usize]| {
            model.add(&format!("model.layers.{n}.{name}.weight"), shape)
        };
        add("input_layernorm", &[d]);
        add("post_attention_layernorm", &[d]);
        add("self_attn.q_proj", &[q, d]);
        add("self_attn.k_proj", &[kv, d]);
        add("self_attn.v_proj", &[kv, d]);
        add("self_attn.o_proj", &[d, q]);
        if get("num_local_experts") == 0 {
            add("mlp.gate_proj", &[f, d]);
            add("mlp.up_proj", &[f, d]);
            add("mlp.down_proj", &[d, f]);
        } else {
            add("block_sparse_moe.gate", &[get("num_local_experts"), d]);
        }
        for e in 0..get("num_local_experts") {
            add(&format!("block_sparse_moe.experts.{e}.w1"), &[f, d]);
            add(&format!("block_sparse_moe.experts.{e}.w2"), &[d, f]);
            add(&format!("block_sparse_moe.experts.{e}.w3"), &[f, d]);
        }
    }
    model
}

impl Model {
    /// Adds a tensor of values that BF16 and F16 hold exactly and that differ between tensors.
    pub fn add(&mut self, name: &str, shape: &[usize]) {
        let seed = self.tensors.len() as u64 + 1;
        let value = |i: u64| {
            let hash = (i + 1).wrapping_mul(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            (hash as f32 / 65536.0 - 128.0).trunc() / 64.0
        };
        let values = (0..shape.iter().product::<usize>() as u64).map(value).collect();
        self.tensors.insert(name.to_owned(), (shape.to_vec(), values));
    }

    /// Writes `config.json` and one shard.
    pub fn write(&self, directory: &Path, dtype: Dtype) {
        self.write_config(directory);
        fs::write(directory.join("model.safetensors"), shard(&self.tensors, dtype)).unwrap();
    }

    /// Writes `config.json`, an index, and `count` shards.
    pub fn write_shards(&self, directory: &Path, dtype: Dtype, count: usize) {
        self.write_config(directory);
        let mut shards = vec![BTreeMap::new(); count];
        let mut index = BTreeMap::new();
        for (i, (name, tensor)) in self.tensors.iter().enumerate() {
            shards[i % count].insert(name.clone(), tensor.clone());
            index.insert(name, shard_name(i % count, count));
        }
        for (i, tensors) in shards.iter().enumerate() {
            fs::write(directory.join(shard_name(i, count)), shard(tensors, dtype)).unwrap();
        }
        let index = json!({"metadata": {}, "weight_map": index});
        fs::write(directory.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }

    fn write_config(&self, directory: &Path) {
        fs::write(directory.join("config.json"), self.config.to_string()).unwrap();
    }
}

pub fn shard_name(i: usize, count: usize) -> String {
    format!("model-{:05}-of-{count:05}.safetensors", i + 1)
}

/// The bytes of a shard.
pub fn shard(tensors: &BTreeMap<String, Tensor>, dtype: Dtype) -> Vec<u8> {
    let encode = |values: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Dtype::F16 => values
                .iter()
                .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
                .collect(),
            Dtype::BF16 => values
                .iter()
                .flat_map(|v| half::bf16::from_f32(*v).to_le_bytes())
                .collect(),
            Dtype::U8 => values.iter().map(|v| *v as u8).collect(),
            other => panic!("{other:?}"),
        }
    };
    let data: BTreeMap<&String, Vec<u8>> =
        tensors.iter().map(|(name, t)| (name, encode(&t.1))).collect();
    let views = tensors.iter().map(|(name, (shape, _))| {
        (
            name.as_str(),
            TensorView::new(dtype, shape.clone(), &data[name]).unwrap(),
        )
    });
    serialize(views, None).unwrap()
}
