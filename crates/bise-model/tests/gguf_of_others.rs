//! GGUF files as other programs write them: those that say the same run the same, and those that
//! hold more are refused.

mod common;

use bise_format::gguf::{Gguf, GgufWriter, Metadata, TensorSpec, Value};
use bise_kernels::mmap::FileBytes;
use bise_model::{ContextOptions, Model};
use common::{bits, file, logits};

fn load(file: Vec<u8>) -> Result<Model, String> {
    Model::from_bytes(FileBytes::from_vec(file)).map_err(|error| error.to_string())
}

fn run(model: &Model) -> Vec<u32> {
    let tokens: Vec<u32> = (0..20).map(|i| i * i % 47 + 1).collect();
    bits(&logits(model, &tokens, ContextOptions::new(tokens.len())))
}

/// The file with other metadata, dimensions, and tensors in another order.
fn rewritten(
    file: &[u8],
    metadata: impl FnOnce(&mut Metadata),
    dims: impl Fn(&str, &mut Vec<u64>),
    backwards: bool,
) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut entries = gguf.metadata.clone();
    metadata(&mut entries);
    let mut infos: Vec<_> = gguf.tensors.values().collect();
    if backwards {
        infos.reverse();
    }
    let spec = |info: &&bise_format::gguf::TensorInfo| {
        let mut spec = TensorSpec {
            name: info.name.clone(),
            dims: info.dims.clone(),
            dtype: info.dtype,
        };
        dims(&info.name, &mut spec.dims);
        spec
    };
    let mut writer = GgufWriter::new(Vec::new(), &entries, infos.iter().map(spec)).unwrap();
    for info in infos {
        writer.write_tensor(&info.name, gguf.bytes(file, info)).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn files_that_say_the_same_run_the_same() {
    for (name, layers) in [
        ("tiny-mistral", 4),
        ("tiny-mixtral", 2),
        ("checkpoints/one-expert", 2),
    ] {
        let file = file(name, "F32");
        let expected = run(&load(file.clone()).unwrap());
        let norms = |name: &str, dims: &mut Vec<u64>| {
            if name.contains("norm") {
                dims.push(1);
            }
        };
        // As ggml counts dimensions, those of 1 at the end are none: of one expert, and of its
        // router.
        let trimmed = |_: &str, dims: &mut Vec<u64>| {
            while dims.len() > 1 && dims.last() == Some(&1) {
                dims.pop();
            }
        };
        let same = |_: &str, _: &mut Vec<u64>| {};
        let none = |_: &mut Metadata| {};
        let of_layers = |metadata: &mut Metadata| {
            for key in [
                "attention.head_count",
                "attention.head_count_kv",
                "feed_forward_length",
            ] {
                let key = format!("llama.{key}");
                let value = metadata.u32(&key).unwrap().unwrap() as i32;
                metadata.insert(key, vec![value; layers]);
            }
        };
        let wide = |metadata: &mut Metadata| {
            for key in [
                "llama.block_count",
                "llama.embedding_length",
                "llama.context_length",
            ] {
                let value = metadata.u32(key).unwrap().unwrap();
                metadata.insert(key, i64::from(value));
            }
            metadata.insert("general.alignment", 64u64);
            metadata.insert("somebody.note", "of no weight");
        };
        let files = [
            rewritten(&file, none, norms, false),
            rewritten(&file, none, trimmed, true),
            rewritten(&file, of_layers, same, false),
            rewritten(&file, wide, same, false),
        ];
        for (i, file) in files.into_iter().enumerate() {
            let model = load(file).unwrap_or_else(|error| panic!("{name}, {i}: {error}"));
            assert!(run(&model) == expected, "{name}, {i}");
        }
    }
}

#[test]
fn what_differs_between_layers_or_is_not_used_is_refused() {
    let file = file("tiny-mistral", "F32");
    let same = |_: &str, _: &mut Vec<u64>| {};
    let cases: [(&str, Value, &[&str]); 6] = [
        (
            "llama.attention.head_count_kv",
            vec![2u32, 2, 1, 2].into(),
            &["llama.attention.head_count_kv", "differs between layers"],
        ),
        (
            "llama.feed_forward_length",
            vec![512u32; 3].into(),
            &["llama.feed_forward_length", "3 values"],
        ),
        (
            "llama.block_count",
            3u32.into(),
            &["9 unexpected tensors: blk.3."],
        ),
        ("llama.block_count", 5u32.into(), &["9 missing tensors: blk.4."]),
        ("llama.expert_count", 8u32.into(), &["llama.expert_used_count"]),
        (
            "llama.attention.sliding_window_pattern",
            vec![true, false, true].into(),
            &["sliding_window_pattern", "3", "4 layers"],
        ),
    ];
    for (key, value, words) in cases {
        let file = rewritten(&file, |metadata| drop(metadata.insert(key, value)), same, false);
        let error = load(file).err().expect(key);
        for word in words {
            assert!(error.contains(word), "{key}: {error}");
        }
    }
    let error = load([&file[..], &[0; 64]].concat())
        .err()
        .expect("trailing bytes");
    assert!(error.contains("64 bytes follow the last tensor"), "{error}");
}

/// A pattern tells which layers have the window.
#[test]
fn patterns_of_windows() {
    let file = file("tiny-mistral", "F32");
    let cases: [(Value, [bool; 4]); 6] = [
        (vec![true; 4].into(), [true; 4]),
        (vec![false; 4].into(), [false; 4]),
        (vec![true, false, false, true].into(), [true, false, false, true]),
        (0u32.into(), [true; 4]),
        (1u32.into(), [false; 4]),
        (2u32.into(), [true, false, true, false]),
    ];
    for (pattern, expected) in cases {
        let set = |metadata: &mut Metadata| {
            drop(metadata.insert("llama.attention.sliding_window_pattern", pattern.clone()));
        };
        let model = load(rewritten(&file, set, |_, _| {}, false)).unwrap();
        let windows = expected.map(|has| Some(64).filter(|_| has));
        let found: Vec<_> = model.config().layers.iter().map(|layer| layer.window).collect();
        assert_eq!(found, windows, "{pattern:?}");
    }
}
