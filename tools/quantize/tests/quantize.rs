//! Directories become files: names, shapes, row order and types; the same bytes however it is done.

mod directory;
#[path = "../../../crates/bise-format/tests/gguf_builder/mod.rs"]
mod gguf_builder;

use bise_format::gguf::{Gguf, Value};
use bise_kernels::block::DType;
use bise_kernels::tensor::Endian;
use bise_quantize::{Options, Report, Silent, Target, quantize};
use directory::{Model, mistral, mixtral, with_tensors};
use safetensors::Dtype;
use serde_json::json;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A written file.
struct Written {
    bytes: Vec<u8>,
    gguf: Gguf,
    report: Report,
}

impl Written {
    fn values(&self, name: &str) -> Vec<f32> {
        let info = self.gguf.tensor(name).unwrap_or_else(|| panic!("{name}"));
        let mut values = vec![0.0; info.elements() as usize];
        info.dtype
            .dequantize(self.gguf.bytes(&self.bytes, info), &mut values);
        values
    }

    fn dtype(&self, name: &str) -> DType {
        self.gguf.tensor(name).unwrap().dtype
    }
}

fn target(name: &str) -> Target {
    Target::from_name(name).unwrap()
}

fn run(src: &Path, options: &Options) -> Written {
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    let report = quantize(src, &dst, options, &Silent).unwrap();
    let bytes = fs::read(&dst).unwrap();
    assert_eq!(report.file_len, bytes.len() as u64);
    Written {
        gguf: Gguf::parse(&bytes).unwrap(),
        bytes,
        report,
    }
}

fn convert(model: &Model, dtype: Dtype, target_name: &str) -> Written {
    let src = TempDir::with_prefix("model-").unwrap();
    model.write(src.path(), dtype);
    run(src.path(), &Options::new(target(target_name)))
}

#[test]
fn a_mistral_in_gguf_names_shapes_and_order() {
    let model = mistral();
    let out = convert(&model, Dtype::F32, "F32");
    let mut expected = vec!["token_embd.weight".to_owned()];
    for n in 0..2 {
        for name in [
            "attn_norm",
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_norm",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
        ] {
            expected.push(format!("blk.{n}.{name}.weight"));
        }
    }
    expected.extend(["output_norm.weight".to_owned(), "output.weight".to_owned()]);
    assert!(out.gguf.tensors.keys().eq(&expected));
    assert_eq!(out.gguf.tensor("blk.0.attn_q.weight").unwrap().dims, [64, 32]);
    assert_eq!(out.gguf.tensor("blk.0.attn_k.weight").unwrap().dims, [64, 16]);
    assert_eq!(
        out.gguf.tensor("blk.0.attn_output.weight").unwrap().dims,
        [32, 64]
    );
    assert_eq!(out.gguf.tensor("blk.1.ffn_down.weight").unwrap().dims, [96, 64]);
    for (gguf, source) in [
        ("token_embd", "model.embed_tokens"),
        ("output", "lm_head"),
        ("output_norm", "model.norm"),
        ("blk.1.attn_norm", "model.layers.1.input_layernorm"),
        ("blk.1.ffn_norm", "model.layers.1.post_attention_layernorm"),
        ("blk.0.attn_v", "model.layers.0.self_attn.v_proj"),
        ("blk.0.attn_output", "model.layers.0.self_attn.o_proj"),
        ("blk.0.ffn_gate", "model.layers.0.mlp.gate_proj"),
        ("blk.0.ffn_up", "model.layers.0.mlp.up_proj"),
        ("blk.0.ffn_down", "model.layers.0.mlp.down_proj"),
    ] {
        assert_eq!(
            out.values(&format!("{gguf}.weight")),
            model.tensors[&format!("{source}.weight")].1,
            "{gguf}"
        );
    }
    for (gguf, source, heads) in [("attn_q", "q_proj", 4), ("attn_k", "k_proj", 2)] {
        let found = out.values(&format!("blk.1.{gguf}.weight"));
        let source = &model.tensors[&format!("model.layers.1.self_attn.{source}.weight")].1;
        let row = |values: &[f32], row: usize| values[row * 64..][..64].to_vec();
        for (head, pair) in (0..heads).flat_map(|head| (0..4).map(move |pair| (head, pair))) {
            assert_eq!(row(&found, head * 8 + 2 * pair), row(source, head * 8 + pair));
            assert_eq!(
                row(&found, head * 8 + 2 * pair + 1),
                row(source, head * 8 + 4 + pair)
            );
        }
    }
}

#[test]
fn metadata_as_llama_cpp_writes_it() {
    let out = convert(&mistral(), Dtype::BF16, "Q8_0");
    let meta = &out.gguf.metadata;
    for (key, value) in [
        ("llama.context_length", 128),
        ("llama.embedding_length", 64),
        ("llama.block_count", 2),
        ("llama.feed_forward_length", 96),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 2),
        ("llama.attention.key_length", 8),
        ("llama.attention.value_length", 8),
        ("llama.attention.sliding_window", 16),
        ("llama.rope.dimension_count", 8),
        ("llama.vocab_size", 40),
        ("general.file_type", 7),
        ("general.quantization_version", 2),
        ("general.alignment", 32),
    ] {
        assert_eq!(meta.get(key), Some(&Value::U32(value)), "{key}");
    }
    assert_eq!(meta.str("general.architecture").unwrap(), Some("llama"));
    assert!(meta.str("general.name").unwrap().unwrap().starts_with("model-"));
    assert_eq!(meta.f32("llama.rope.freq_base").unwrap(), Some(12345.0));
    assert_eq!(
        meta.f32("llama.attention.layer_norm_rms_epsilon").unwrap(),
        Some(1e-5)
    );
    assert_eq!(meta.get("llama.expert_count"), None);
    assert_eq!(meta.str("tokenizer.ggml.model").unwrap(), Some("none"));
    assert!(out.report.notes.iter().any(|note| note.contains("no tokenizer")));

    let out = convert(&mixtral(), Dtype::BF16, "Q4_K_M");
    let meta = &out.gguf.metadata;
    assert_eq!(meta.u32("llama.expert_count").unwrap(), Some(3));
    assert_eq!(meta.u32("llama.expert_used_count").unwrap(), Some(2));
    assert_eq!(meta.f32("llama.rope.freq_base").unwrap(), Some(1e6));
    assert_eq!(meta.get("llama.attention.sliding_window"), None);
    assert_eq!(meta.u32("general.file_type").unwrap(), Some(15));
}

#[test]
fn experts_are_stacked() {
    let model = mixtral();
    let out = convert(&model, Dtype::F16, "F32");
    for (gguf, source, dims) in [
        ("gate", "w1", [64, 32, 3]),
        ("up", "w3", [64, 32, 3]),
        ("down", "w2", [32, 64, 3]),
    ] {
        let name = format!("blk.0.ffn_{gguf}_exps.weight");
        assert_eq!(out.gguf.tensor(&name).unwrap().dims, dims);
        let stacked: Vec<f32> = (0..3)
            .flat_map(|e| {
                model.tensors
                    [&format!("model.layers.0.block_sparse_moe.experts.{e}.{source}.weight")]
                    .1
                    .clone()
            })
            .collect();
        assert_eq!(out.values(&name), stacked);
    }
    let router = convert(&model, Dtype::BF16, "Q4_0");
    assert_eq!(router.dtype("blk.0.ffn_gate_inp.weight"), DType::F32);
    assert_eq!(router.dtype("blk.0.attn_norm.weight"), DType::F32);
    assert_eq!(router.dtype("blk.0.ffn_up_exps.weight"), DType::Q4_0);
}

#[test]
fn a_tied_model_has_no_output_matrix_but_one_that_differs() {
    let mut model = mistral();
    model.config["tie_word_embeddings"] = json!(true);
    let head = convert(&model, Dtype::F32, "Q8_0");
    assert!(
        head.gguf.tensor("output.weight").is_some(),
        "a head of its own is used, tied or not"
    );
    let embeddings = model.tensors["model.embed_tokens.weight"].clone();
    model.tensors.insert("lm_head.weight".to_owned(), embeddings);
    let with_copy = convert(&model, Dtype::F32, "Q8_0");
    model.tensors.remove("lm_head.weight");
    model.add("model.layers.0.self_attn.rotary_emb.inv_freq", &[4]);
    let without = convert(&model, Dtype::F32, "Q8_0");
    for out in [with_copy, without] {
        assert!(out.gguf.tensor("output.weight").is_none());
        assert_eq!(out.gguf.tensors.len(), 20);
    }
}

#[test]
fn shards_give_the_same_file() {
    let model = mixtral();
    let (single, sharded) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let rename = |directory: &TempDir| directory.path().join("model");
    for directory in [&single, &sharded] {
        fs::create_dir(rename(directory)).unwrap();
    }
    model.write(&rename(&single), Dtype::BF16);
    model.write_shards(&rename(&sharded), Dtype::BF16, 3);
    let options = Options::new(target("Q5_0"));
    assert_eq!(
        run(&rename(&single), &options).bytes,
        run(&rename(&sharded), &options).bytes
    );
}

/// A model wide enough for the blocks of all types: 2 layers, 256 wide.
fn wide() -> Model {
    with_tensors(json!({
        "architectures": ["MixtralForCausalLM"], "hidden_size": 256, "intermediate_size": 256,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 40,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "num_local_experts": 2, "num_experts_per_tok": 1,
    }))
}

#[test]
fn every_target_from_a_directory_or_a_gguf() {
    let src = TempDir::new().unwrap();
    wide().write(src.path(), Dtype::BF16);
    let f32 = run(src.path(), &Options::new(target("F32")));
    let path = src.path().join("f32.gguf");
    fs::write(&path, &f32.bytes).unwrap();
    for target in Target::all() {
        for pure in [false, true] {
            let options = Options {
                pure,
                ..Options::new(target)
            };
            let out = run(src.path(), &options);
            assert_eq!(out.bytes, run(&path, &options).bytes, "{target} from a GGUF");
            let down = "blk.0.ffn_gate_exps.weight";
            assert_eq!(out.dtype(down), target.base());
            for name in f32.gguf.tensors.keys() {
                assert!(close(&f32.values(name), &out.values(name)), "{target} {name}");
            }
        }
    }
}

/// Whether the error is that of 2 bits a value at most.
fn close(x: &[f32], y: &[f32]) -> bool {
    let square = |v: f32| f64::from(v).powi(2);
    let error: f64 = x.iter().zip(y).map(|(x, y)| square(x - y)).sum();
    error <= 0.2 * x.iter().map(|&x| square(x)).sum::<f64>()
}

#[test]
fn a_big_endian_gguf_gives_the_same_file() {
    let src = TempDir::new().unwrap();
    wide().write(src.path(), Dtype::F16);
    for source_type in ["F16", "Q8_0"] {
        let little = run(src.path(), &Options::new(target(source_type)));
        let tensor = |info: &bise_format::gguf::TensorInfo| {
            let data = little.gguf.bytes(&little.bytes, info).to_vec();
            (info.name.clone(), info.dims.clone(), info.dtype, data)
        };
        let tensors: Vec<_> = little.gguf.tensors.values().map(tensor).collect();
        let big = gguf_builder::build((3, Endian::Big), &little.gguf.metadata, &tensors);
        let (little_path, big_path) = (src.path().join("little.gguf"), src.path().join("big.gguf"));
        fs::write(&little_path, &little.bytes).unwrap();
        fs::write(&big_path, big).unwrap();
        for to in ["Q8_0", "Q4_0"] {
            let options = Options::new(target(to));
            assert_eq!(run(&little_path, &options).bytes, run(&big_path, &options).bytes);
        }
    }
}

#[test]
fn the_same_type_is_copied_and_metadata_kept() {
    let src = TempDir::new().unwrap();
    wide().write(src.path(), Dtype::F32);
    let mut first = run(src.path(), &Options::new(target("Q4_0")));
    let path = src.path().join("first.gguf");
    // Blocks that no quantizer of ours writes: a copy keeps them, another pass would not.
    let info = first.gguf.tensor("blk.0.attn_q.weight").unwrap().clone();
    let start = (first.gguf.data_offset + info.offset) as usize;
    first.bytes[start..start + 2].copy_from_slice(&half::f16::from_f32(0.25).to_le_bytes());
    first.bytes[start + 2..start + 18].fill(0x99);
    fs::write(&path, &first.bytes).unwrap();
    let copy = run(&path, &Options::new(target("Q4_0")));
    for info in first.gguf.tensors.values() {
        let copied = copy.gguf.tensor(&info.name).unwrap();
        assert_eq!(copied, info);
        assert!(copy.gguf.bytes(&copy.bytes, copied) == first.gguf.bytes(&first.bytes, info));
    }
    let theirs = |gguf: &Gguf| -> Vec<(String, Value)> {
        let entries = gguf.metadata.iter().filter(|(key, _)| !key.starts_with("bise."));
        entries
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    };
    assert_eq!(theirs(&copy.gguf), theirs(&first.gguf));
    let again = run(&path, &Options::new(target("Q4_K_M")));
    assert_eq!(again.gguf.metadata.u32("general.file_type").unwrap(), Some(15));
    assert_eq!(again.gguf.metadata.len(), first.gguf.metadata.len());
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let src = TempDir::new().unwrap();
    let model = with_tensors(json!({
        "architectures": ["MistralForCausalLM"], "hidden_size": 512, "intermediate_size": 256,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 10000,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    }));
    model.write(src.path(), Dtype::BF16);
    let with = |threads| Options {
        threads: Some(threads),
        ..Options::new(target("Q4_K_M"))
    };
    let one = run(src.path(), &with(1)).bytes;
    for threads in 2..=4 {
        assert_eq!(one, run(src.path(), &with(threads)).bytes, "{threads} threads");
    }
}

#[test]
fn rows_that_do_not_fill_blocks_fall_back() {
    let out = convert(&mistral(), Dtype::F32, "Q4_K_M"); // rows of 64, 32 and 96 values
    assert_eq!(out.dtype("blk.0.attn_q.weight"), DType::Q5_0);
    assert_eq!(out.dtype("blk.0.attn_v.weight"), DType::Q5_0);
    assert_eq!(out.dtype("blk.1.attn_v.weight"), DType::Q8_0);
    assert_eq!(out.dtype("output.weight"), DType::Q8_0);
    let note = "blk.0.ffn_down.weight: rows of 96 values are not whole Q4_K blocks, stored as Q5_0";
    assert!(
        out.report.notes.iter().any(|n| n == note),
        "{:?}",
        out.report.notes
    );

    let mut model = mistral();
    model.config["hidden_size"] = json!(40);
    let out = convert(&with_tensors(model.config), Dtype::F32, "Q4_0");
    assert_eq!(out.dtype("blk.0.attn_q.weight"), DType::F16);
    assert_eq!(out.dtype("blk.0.attn_output.weight"), DType::Q4_0);
}
