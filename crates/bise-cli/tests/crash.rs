//! `bise quantize`, killed at any time: the next run goes on and gives the same bytes.
//!
//! `BISE_KILLS=100 cargo test -p bise-cli --release --test crash -- --nocapture` kills a hundred
//! times.

#[path = "../../../tools/quantize/tests/directory/mod.rs"]
mod directory;

use bise_quantize::{Options, Silent, Target, quantize};
use directory::with_tensors;
use safetensors::Dtype;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// A source of 20 slabs in 12 matrices.
fn source() -> TempDir {
    let src = TempDir::new().unwrap();
    let model = with_tensors(json!({
        "architectures": ["MixtralForCausalLM"], "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 10000,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "num_local_experts": 3, "num_experts_per_tok": 1,
    }));
    model.write(src.path(), Dtype::BF16);
    src
}

fn options() -> Options {
    Options {
        threads: Some(2),
        ..Options::new(Target::from_name("Q8_0").unwrap())
    }
}

/// What an undisturbed run writes.
fn undisturbed(src: &Path, options: &Options) -> Vec<u8> {
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    quantize(src, &dst, options, &Silent).unwrap();
    fs::read(dst).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs to the end; gives the notes.
fn resume(src: &Path, dst: &Path, options: &Options, expected: &[u8]) -> String {
    let report = quantize(src, dst, options, &Silent).unwrap();
    assert!(fs::read(dst).unwrap() == expected, "other bytes");
    assert_eq!(names(dst.parent().unwrap()), ["out.gguf"]);
    report.notes.join("\n")
}

#[test]
fn killed_at_any_time_it_goes_on() {
    let kills: u32 = std::env::var("BISE_KILLS").map_or(8, |n| n.parse().unwrap());
    let src = source();
    let expected = undisturbed(src.path(), &options());
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
        command.arg("quantize").arg(src.path()).arg(&dst);
        command.args(["--type", "Q8_0", "-t", "2", "--no-probe"]);
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(start().wait().unwrap().success());
    let whole = begun.elapsed();
    assert!(fs::read(&dst).unwrap() == expected);

    let (mut killed, mut resumed) = (0, 0);
    let mut state = 1u64;
    while killed < kills {
        fs::remove_file(&dst).unwrap();
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut child = start();
        std::thread::sleep(whole.mul_f64((state >> 40) as f64 / (1u64 << 24) as f64));
        child.kill().unwrap();
        // By SIGKILL, unless it had ended before.
        killed += u32::from(child.wait().unwrap().code().is_none());
        assert!(!dst.exists() || fs::read(&dst).unwrap() == expected);
        let notes = resume(src.path(), &dst, &options(), &expected);
        resumed += u32::from(notes.contains("went on after"));
    }
    println!("{killed} kills, {resumed} of them with work to go on from; one result");
    assert!(
        resumed > 0,
        "kills within {whole:?} were all too early or too late"
    );
}
