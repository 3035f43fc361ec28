//! FP8 checkpoints run as torch and transformers have them: the same weights, bit for bit, and
//! their logits.
//!
//! `tools/fixtures/fp8_goldens.py` made them.

mod common;

use bise_format::TensorName;
use bise_format::checkpoint::Checkpoint;
use bise_kernels::block::DType;
use bise_kernels::isa::Level;
use bise_kernels::tensor::Tensor;
use bise_model::streamed::logits_after;
use bise_model::{
    Config, Context, ContextOptions, Hashed, KvType, LoadOptions, MemoryNeeds, Model, fingerprint,
};
use common::{Golden, bits, file, fixture, logits};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const FORMS: [&str; 9] = [
    "hf-tensor",
    "hf-block",
    "hf-block-cut",
    "mixtral-block",
    "ct-tensor",
    "ct-channel",
    "ct-block",
    "native",
    "native-block",
];

/// The form whose scales are those of fewer columns than kernels work on at a time.
const COPIED: &str = "ct-block";

fn checkpoint(name: &str) -> Checkpoint {
    bise_format::open(&fixture("fp8").join(name)).unwrap().0
}

fn model(name: &str) -> Model {
    Model::from_checkpoint(checkpoint(name)).unwrap()
}

fn options(tokens: usize) -> ContextOptions {
    ContextOptions {
        kv: KvType::F32,
        ..ContextOptions::new(tokens)
    }
}

/// The SHA-256 of the values as they lie in the file, in F32.
fn hash(tensor: &Tensor) -> String {
    let (cols, values) = (tensor.cols(), tensor.to_vec());
    let mut stored = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(cols).enumerate() {
        stored[tensor.source_row(row) * cols..][..cols].copy_from_slice(values);
    }
    let bytes: Vec<u8> = stored.iter().flat_map(|value| value.to_le_bytes()).collect();
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn weights_are_torchs_bit_for_bit() {
    let path = fixture("goldens/fp8/values.json");
    let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(golden.as_object().unwrap().len(), FORMS.len());
    for name in FORMS {
        let checkpoint = checkpoint(name);
        let expected = golden[name].as_object().unwrap();
        let scaled = checkpoint
            .tensors
            .iter()
            .filter(|(_, tensor)| tensor.scales().is_some());
        let mut seen = 0;
        for (gguf, tensor) in scaled {
            let source = checkpoint.source_name(gguf);
            assert_eq!(expected[source], hash(tensor), "{name}, {source}");
            seen += 1;
        }
        assert_eq!(seen, expected.len(), "{name}");
    }
}

#[test]
fn logits_are_those_of_transformers() {
    for name in FORMS {
        let golden = Golden::read(&format!("fp8/{name}.safetensors"));
        let found = logits(&model(name), &golden.tokens, options(golden.tokens.len()));
        let largest = golden.logits.iter().fold(0f32, |most, x| most.max(x.abs()));
        let pairs = found.iter().zip(&golden.logits);
        let off = pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert_eq!(found.len(), golden.logits.len());
        assert!(off <= 1e-4 * largest, "{name}: {off} of {largest}");
    }
}

/// In place, in memory, layer by layer, at every level, and as a GGUF file of the dequantized
/// weights.
#[test]
fn every_way_to_run_gives_the_same_bits() {
    let tokens: Vec<u32> = (0..40).map(|i| i * i % 47 + 1).collect();
    let run = |model: &Model, level, batch| {
        let options = ContextOptions {
            level,
            prefill_chunk: batch,
            ..options(tokens.len())
        };
        bits(&logits(model, &tokens, options))
    };
    for name in FORMS {
        let gguf = file(&format!("fp8/{name}"), "F32");
        let gguf = Model::from_bytes(bise_kernels::mmap::FileBytes::from_vec(gguf)).unwrap();
        let expected = run(&gguf, Level::SCALAR, 512);
        let read = LoadOptions {
            read: true,
            ..LoadOptions::default()
        };
        let read = Model::load(checkpoint(name), &read).unwrap();
        for model in [model(name), read] {
            for level in Level::available() {
                for batch in [1, 7, 512] {
                    let got = run(&model, level, batch);
                    assert!(got == expected, "{name} at {level} by {batch}");
                }
            }
        }
        let options = ContextOptions::new(tokens.len());
        let mut context = Context::new(&gguf, options).unwrap();
        let last = bits(context.forward(&tokens).unwrap());
        let prompts = [tokens.clone()];
        let streamed = logits_after(checkpoint(name), &[], &prompts, u64::MAX, &|_, _| {}).unwrap();
        assert!(bits(&streamed[0]) == last, "{name}, layer by layer");
    }
}

/// What is dequantized to memory is counted, and what lies in the file is not.
#[test]
fn memory_is_that_of_what_is_copied() {
    for name in FORMS {
        let checkpoint = checkpoint(name);
        let config = Config::from_checkpoint(&checkpoint).unwrap();
        let needs = MemoryNeeds::of(&checkpoint, &config, &ContextOptions::new(16));
        let scaled: Vec<_> = checkpoint
            .tensors
            .values()
            .filter_map(|tensor| Some((tensor, tensor.scales()?)))
            .collect();
        let scales: usize = scaled.iter().map(|(_, scales)| 4 * scales.values().len()).sum();
        let values: usize = scaled.iter().map(|(tensor, _)| tensor.elements()).sum();
        let copied = if name == COPIED { 4 * values } else { 0 };
        assert_eq!(needs.laid_out, (scales + copied) as u64, "{name}");
        assert_eq!(
            scaled.iter().all(|(tensor, _)| tensor.is_native()),
            name != COPIED
        );
    }
    let piece = |name| logits_after(checkpoint(name), &[], &[vec![1]], 20_000, &|_, _| {});
    assert!(piece("hf-block").is_ok());
    assert!(piece(COPIED).is_err(), "a layer of it takes more");
}

/// A copy of a form in which the bytes of a tensor have been changed.
fn changed(name: &str, tensor: &str, change: impl FnOnce(&mut [u8])) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("fp8").join(name), folder.path());
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let range = {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor(tensor).unwrap().data();
        let start = data.as_ptr() as usize - bytes.as_ptr() as usize;
        start..start + data.len()
    };
    change(&mut bytes[range]);
    fs::write(path, bytes).unwrap();
    // The folder may go: its files stay mapped.
    bise_format::open(folder.path()).unwrap().0
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn fingerprints_are_those_of_scales_too() {
    let print = |checkpoint: &Checkpoint, hashed| fingerprint(checkpoint, hashed).unwrap();
    for hashed in [Hashed::Samples, Hashed::All] {
        let expected = print(&checkpoint("hf-block"), hashed);
        assert_eq!(print(&checkpoint("hf-block"), hashed), expected);
        assert_ne!(print(&checkpoint("ct-channel"), hashed), expected);
        for tensor in [
            "model.layers.1.mlp.up_proj.weight_scale_inv",
            "model.layers.1.mlp.up_proj.weight",
        ] {
            let other = changed("hf-block", tensor, |bytes| bytes[2] ^= 1);
            assert_ne!(print(&other, hashed), expected, "{tensor}");
        }
    }
}

/// Scales are looked at when a model is loaded, weights that stay in the file's rows when something
/// is wrong.
#[test]
fn what_is_no_number_is_named() {
    let scale =
        |value: f32| move |bytes: &mut [u8]| bytes[12..16].copy_from_slice(&value.to_le_bytes());
    let up = "model.layers.1.mlp.up_proj.weight_scale_inv";
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38] {
        // Block [1, 1] of 32 x 32.
        let error = Model::from_checkpoint(changed("hf-block", up, scale(value)))
            .err()
            .unwrap_or_else(|| panic!("a scale of {value} is found"))
            .to_string();
        let place = "tensor 'blk.1.ffn_up.weight' has ";
        assert!(
            error.contains(place) && error.contains("row 3"),
            "{value}: {error}"
        );
    }
    for value in [-1.0, 0.0, 1e-30] {
        assert!(Model::from_checkpoint(changed("hf-block", up, scale(value))).is_ok());
    }
    let odd = "model.layers.1.mlp.up_proj.weight_scale";
    let error = changed(COPIED, odd, |bytes| bytes[..2].copy_from_slice(&[0, 0x7e]));
    let error = Model::from_checkpoint(error).err().unwrap().to_string();
    assert!(
        error.contains("tensor 'blk.1.ffn_up.weight' has NaN for a weight, in row 0"),
        "{error}"
    );

    let weight = "model.layers.1.mlp.down_proj.weight";
    let bad = changed("hf-block", weight, |bytes| bytes[5 * 96 + 7] = 0xff);
    let model = Model::from_checkpoint(bad).unwrap();
    let mut context = Context::new(&model, ContextOptions::new(8)).unwrap();
    let error = context.forward(&[1, 2, 3]).unwrap_err().to_string();
    let place = "tensor 'blk.1.ffn_down.weight' has NaN for a weight, in row 5, column 7";
    assert!(error.contains(place), "{error}");
}

/// Vectors and routers stay F32, as of other sources; matrices get the type that is asked for.
#[test]
fn files_of_every_type_are_made() {
    for name in ["hf-tensor", COPIED, "mixtral-block"] {
        for target in ["Q8_0", "BF16", "Q4_K_M"] {
            let bytes = file(&format!("fp8/{name}"), target);
            let file = bise_kernels::mmap::FileBytes::from_vec(bytes);
            let checkpoint = Checkpoint::from_bytes(file).unwrap();
            let norm = checkpoint.tensor(TensorName::OutputNorm).unwrap();
            assert_eq!(norm.dtype(), DType::F32);
            assert!(
                checkpoint
                    .tensors
                    .values()
                    .all(|tensor| !tensor.dtype().is_scaled())
            );
            Model::from_checkpoint(checkpoint).unwrap();
        }
    }
}
