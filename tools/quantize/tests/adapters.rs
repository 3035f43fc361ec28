//! Adapters merged into the weights: types, sizes, jobs that go on, and what is refused.

mod stopping;

use bise_format::checkpoint::Checkpoint;
use bise_format::full_text;
use bise_quantize::{Budget, Options, QuantizeError, Silent, Target, quantize, verify};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use stopping::StopAfter;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

const BASE: &str = "random/mistral-no-window";

fn options(target: &str, adapters: &[(&str, f32)]) -> Options {
    let path = |(name, scale): &(&str, f32)| (fixture("adapters").join(name), *scale);
    Options {
        adapters: adapters.iter().map(path).collect(),
        threads: Some(2),
        ..Options::new(Target::from_name(target).unwrap())
    }
}

fn made(src: &Path, options: &Options) -> Result<Vec<u8>, String> {
    let folder = TempDir::new().unwrap();
    let dst = folder.path().join("made.gguf");
    let report = quantize(src, &dst, options, &Silent).map_err(|e| full_text(&e))?;
    assert!(verify(&dst, None).unwrap().faults.is_empty());
    assert!(report.file_len > 0);
    Ok(fs::read(dst).unwrap())
}

#[test]
fn any_type_and_any_number_of_threads() {
    let src = fixture(BASE);
    for target in ["F32", "F16", "Q8_0", "Q4_0"] {
        let options = options(target, &[("plain", 1.0), ("ranks", -0.5)]);
        let one = made(&src, &options).unwrap();
        let threads = Some(1);
        assert!(
            one == made(&src, &Options { threads, ..options }).unwrap(),
            "{target}"
        );
        assert!(
            one != made(&src, &self::options(target, &[])).unwrap(),
            "{target}"
        );
    }
    // The file says what it is made of.
    let folder = TempDir::new().unwrap();
    let dst = folder.path().join("made.gguf");
    quantize(&src, &dst, &options("F32", &[("plain", 0.5)]), &Silent).unwrap();
    let again = folder.path().join("again.gguf");
    quantize(&dst, &again, &options("F32", &[("ranks", 1.0)]), &Silent).unwrap();
    let file = Checkpoint::open(&again).unwrap();
    assert_eq!(
        file.metadata.strings("quantize.lora").unwrap().unwrap(),
        ["plain:0.5", "ranks:1"]
    );
}

/// A scale of 0 changes no weight.
#[test]
fn nothing_times_an_adapter_is_the_model() {
    let weights = |bytes: Vec<u8>| {
        let file = Checkpoint::from_bytes(bise_kernels::mmap::FileBytes::from_vec(bytes)).unwrap();
        let bytes = file.tensors.values().flat_map(|tensor| tensor.bytes().to_vec());
        bytes.collect::<Vec<u8>>()
    };
    let src = fixture(BASE);
    let bare = weights(made(&src, &options("Q8_0", &[])).unwrap());
    let none = weights(made(&src, &options("Q8_0", &[("plain", 0.0)])).unwrap());
    assert!(bare == none);
}

#[test]
fn within_a_size() {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("source.gguf");
    fs::write(&source, made(&fixture(BASE), &options("F16", &[])).unwrap()).unwrap();
    let budget = Budget::from_bits("6.5").unwrap();
    let options = Options {
        budget: Some(budget),
        ..options("Q8_0", &[("plain", 1.0)])
    };
    made(&source, &options).unwrap();
}

#[test]
fn quantized_weights_are_merged_into_when_asked_to() {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("source.gguf");
    fs::write(&source, made(&fixture(BASE), &options("Q8_0", &[])).unwrap()).unwrap();
    let refused = Options {
        allow_requantize: false,
        ..options("Q8_0", &[("plain", 1.0)])
    };
    let error = made(&source, &refused).unwrap_err();
    assert!(error.contains("--allow-requantize"), "{error}");
    made(&source, &options("Q8_0", &[("plain", 1.0)])).unwrap();
    // Without an adapter the blocks are copied.
    made(
        &source,
        &Options {
            adapters: Vec::new(),
            ..refused
        },
    )
    .unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::write(to.join(path.file_name().unwrap()), fs::read(&path).unwrap()).unwrap();
    }
}

#[test]
fn a_stopped_job_goes_on_with_the_same_adapter_only() {
    let folder = TempDir::new().unwrap();
    let (dst, adapter) = (folder.path().join("made.gguf"), folder.path().join("adapter"));
    copy(&fixture("adapters/plain"), &adapter);
    let src = fixture(BASE);
    let with = |scale: f32| Options {
        adapters: vec![(adapter.clone(), scale)],
        ..options("Q8_0", &[])
    };
    let stopped = || {
        let error = quantize(&src, &dst, &with(1.0), &StopAfter(Cell::new(9))).unwrap_err();
        assert!(matches!(error, QuantizeError::Stopped), "{error}");
    };
    let notes =
        |options: &Options| quantize(&src, &dst, options, &Silent).unwrap().notes.join("\n");
    stopped();
    assert!(notes(&with(1.0)).contains("went on after"));
    assert!(fs::read(&dst).unwrap() == made(&src, &with(1.0)).unwrap());
    for other in [with(0.5), options("Q8_0", &[])] {
        stopped();
        assert!(notes(&other).contains("other options"));
    }
    stopped();
    let weights = adapter.join("adapter_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    // A number's lowest bits.
    let at = bytes.len() - 4;
    bytes[at] ^= 1;
    fs::write(&weights, bytes).unwrap();
    assert!(notes(&with(1.0)).contains("other options"));
}

#[test]
fn adapters_are_inputs_and_must_fit() {
    let folder = TempDir::new().unwrap();
    let adapter = folder.path().join("adapter");
    copy(&fixture("adapters/plain"), &adapter);
    for dst in ["adapter_model.safetensors", "adapter_config.json"] {
        for given in [&adapter, &adapter.join("adapter_model.safetensors")] {
            let options = Options {
                adapters: vec![(given.clone(), 1.0)],
                ..options("Q8_0", &[])
            };
            let error = quantize(&fixture(BASE), &adapter.join(dst), &options, &Silent);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("the same file as"), "{error}");
        }
    }
    let other = fixture("random/mistral-head-dim");
    let error = made(&other, &options("F32", &[("plain", 1.0)])).unwrap_err();
    assert!(error.contains("has the shape [4, 64]"), "{error}");
    let error = made(&fixture(BASE), &options("F32", &[("none", 1.0)])).unwrap_err();
    assert!(error.contains("none"), "{error}");
}
