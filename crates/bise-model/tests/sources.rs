//! One model, stored in several ways: the same logits, bit for bit.

mod common;
#[path = "../../bise-format/tests/gguf_builder/mod.rs"]
mod gguf_builder;
#[path = "../../../tools/quantize/tests/directory/native.rs"]
mod native;

use bise_format::checkpoint::{Checkpoint, Container};
use bise_format::gguf::{Gguf, Metadata, Value};
use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::Endian;
use bise_kernels::tensor::Tensor;
use bise_model::{Config, ContextOptions, Hashed, Model, fingerprint};
use common::{bits, file, fixture, logits, split};
use native::{Experts, convert};

/// Logits of some tokens that every fixture has.
fn run(model: &Model) -> Vec<u32> {
    let tokens: Vec<u32> = (0..40).map(|i| i * i % 47 + 1).collect();
    bits(&logits(model, &tokens, ContextOptions::new(tokens.len())))
}

fn from_directory(name: &str) -> Model {
    let (checkpoint, _) = bise_format::open(&fixture(name)).unwrap();
    Model::from_checkpoint(checkpoint).unwrap()
}

/// Every Hugging Face directory of the fixtures: BF16, F16, F32 and mixed, sharded, tied, with
/// experts.
#[test]
fn directories_run_as_their_files_do() {
    let random = std::fs::read_dir(fixture("random")).unwrap();
    let names =
        random.map(|entry| format!("random/{}", entry.unwrap().file_name().to_str().unwrap()));
    let more = ["fused", "one-expert", "tied-head", "sliding", "full", "absent"];
    let more = more.map(|name| format!("checkpoints/{name}"));
    for name in names
        .chain(more)
        .chain(["tiny-mistral".to_owned(), "tiny-mixtral".to_owned()])
    {
        let gguf = Model::from_bytes(FileBytes::from_vec(file(&name, "F32"))).unwrap();
        let directory = from_directory(&name);
        assert_eq!(directory.config(), gguf.config(), "{name}");
        assert!(run(&directory) == run(&gguf), "{name}");
    }
}

#[test]
fn every_part_of_a_split_file_leads_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    for (name, target) in [("tiny-mixtral", "Q4_K_M"), ("random/mistral-tied", "BF16")] {
        let whole = file(name, target);
        let model = Model::from_bytes(FileBytes::from_vec(whole.clone())).unwrap();
        let expected = run(&model);
        for (count, first_has_tensors) in [(2, true), (3, false), (7, true)] {
            let parts = split(&whole, folder.path(), count, first_has_tensors);
            for part in &parts {
                let joined = Model::open(part).unwrap();
                assert!(run(&joined) == expected, "{}", part.display());
                let (found, expected) = (joined.checkpoint(), model.checkpoint());
                assert_eq!(found.metadata, expected.metadata);
                assert!(found.tensors.keys().eq(expected.tensors.keys()));
                assert_eq!(
                    found.container.to_string(),
                    format!("GGUF version 3, {count} files")
                );
            }
            parts.iter().for_each(|part| std::fs::remove_file(part).unwrap());
        }
    }
}

#[test]
fn big_endian_files_run_as_little_endian_ones() {
    for target in ["BF16", "Q4_K_M"] {
        let little = file("tiny-mixtral", target);
        let gguf = Gguf::parse(&little).unwrap();
        let tensors = gguf.tensors.values().map(|info| {
            let data = gguf.bytes(&little, info).to_vec();
            (info.name.clone(), info.dims.clone(), info.dtype, data)
        });
        let tensors: Vec<_> = tensors.collect();
        let big = gguf_builder::build((3, Endian::Big), &gguf.metadata, &tensors);
        let load = |bytes| Model::from_bytes(FileBytes::from_vec(bytes)).unwrap();
        assert!(run(&load(big)) == run(&load(little)), "{target}");
    }
}

#[test]
fn mistrals_own_layout_runs_as_hugging_faces_does() {
    let variants = [Experts::Separate, Experts::SeparateOld, Experts::Stacked];
    for (name, variants) in [
        ("tiny-mistral", &variants[..1]),
        ("tiny-mixtral", &variants[..]),
        ("random/mixtral-4-top-3", &variants[..]),
    ] {
        let expected = run(&from_directory(name));
        for &variant in variants {
            let folder = tempfile::tempdir().unwrap();
            convert(&fixture(name), folder.path(), variant, 2);
            let (checkpoint, _) = bise_format::open(folder.path()).unwrap();
            assert!(
                checkpoint
                    .container
                    .to_string()
                    .contains("Mistral layout, 2 files")
            );
            let model = Model::from_checkpoint(checkpoint).unwrap();
            assert!(run(&model) == expected, "{name}, {variant:?}");
        }
    }
}

/// The window of a file that does not mention one: Mistral v0.1's where it cannot be anything else.
#[test]
fn the_window_of_mistral_v0_1_is_restored() {
    let fits = |change: &dyn Fn(&mut Checkpoint)| {
        let mut checkpoint = v0_1();
        change(&mut checkpoint);
        let config = Config::from_checkpoint(&checkpoint).unwrap();
        assert_eq!(config.window_restored, config.sliding_window() == Some(4096));
        config.sliding_window()
    };
    let set = |key: &'static str, value: Value| {
        move |checkpoint: &mut Checkpoint| drop(checkpoint.metadata.insert(key, value.clone()))
    };
    let vocabulary = |rows: usize| {
        move |checkpoint: &mut Checkpoint| {
            drop(
                checkpoint
                    .tensors
                    .insert("token_embd.weight".into(), embeddings(rows)),
            )
        }
    };
    assert_eq!(fits(&|_| {}), Some(4096));
    assert_eq!(fits(&vocabulary(32002)), Some(4096), "a few tokens added");
    assert_eq!(
        fits(&set("llama.attention.sliding_window", Value::U32(0))),
        None,
        "said to be off"
    );
    assert_eq!(
        fits(&set("llama.attention.sliding_window", Value::U32(99))),
        Some(99),
        "another"
    );
    assert_eq!(fits(&set("llama.rope.freq_base", Value::F32(1e6))), None, "v0.2");
    assert_eq!(
        fits(&set("llama.context_length", Value::U32(4096))),
        None,
        "Llama 2"
    );
    assert_eq!(
        fits(&set("llama.attention.head_count_kv", Value::U32(8))),
        None,
        "no grouped queries"
    );
    assert_eq!(fits(&vocabulary(32768)), None, "v0.3's vocabulary");
    assert_eq!(fits(&vocabulary(1024)), None, "another vocabulary");
    let experts = |checkpoint: &mut Checkpoint| {
        set("llama.expert_count", Value::U32(8))(checkpoint);
        set("llama.expert_used_count", Value::U32(2))(checkpoint);
    };
    assert_eq!(fits(&experts), None, "Mixtral");
}

/// What a file of Mistral v0.1 says, of fewer dimensions.
fn v0_1() -> Checkpoint {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", "llama");
    for (key, value) in [
        ("embedding_length", 32u32),
        ("block_count", 1),
        ("feed_forward_length", 32),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 2),
        ("context_length", 32768),
    ] {
        metadata.insert(format!("llama.{key}"), value);
    }
    metadata.insert("llama.rope.freq_base", 1e4f32);
    metadata.insert("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    Checkpoint {
        metadata,
        tensors: [("token_embd.weight".to_owned(), embeddings(32000))]
            .into_iter()
            .collect(),
        container: Container::Gguf {
            version: 3,
            parts: 1,
        },
        source_names: Default::default(),
    }
}

fn embeddings(rows: usize) -> Tensor {
    let bytes = FileBytes::from_vec(vec![0; rows * 32 * 2]);
    Tensor::from_bytes(DType::F16, &[rows, 32], bytes).unwrap()
}

/// The fingerprint is that of the model, not of its files, and tells models and damage apart.
#[test]
fn fingerprints() {
    let print = |checkpoint: &Checkpoint, hashed| fingerprint(checkpoint, hashed).unwrap();
    let whole = file("tiny-mixtral", "Q8_0");
    let checkpoint =
        |bytes: &[u8]| Checkpoint::from_bytes(FileBytes::from_vec(bytes.to_vec())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parts = split(&whole, folder.path(), 3, true);
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for hashed in [Hashed::Samples, Hashed::All] {
        let expected = print(&checkpoint(&whole), hashed);
        assert_eq!(print(&Checkpoint::open(&parts[1]).unwrap(), hashed), expected);
        assert_ne!(
            print(&checkpoint(&file("tiny-mistral", "Q8_0")), hashed),
            expected
        );
        let mut other = checkpoint(&whole);
        other.metadata.insert("general.name", "renamed");
        assert_eq!(print(&other, hashed), expected);
        other.metadata.insert("llama.rope.freq_base", 5e5f32);
        assert_ne!(print(&other, hashed), expected);
    }
    let last = print(&checkpoint(&damaged), Hashed::All);
    assert_ne!(last, print(&checkpoint(&whole), Hashed::All));
}
