//! `--lora`: adapters beside models and merged into them, and what is told of them.

use bise_format::gguf::{GgufWriter, Metadata, TensorSpec};
use bise_kernels::block::DType;
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    path.join(name).to_str().unwrap().to_owned()
}

fn bise(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
    command.args(arguments).output().unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = bise(arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(arguments: &[&str], words: &[&str]) {
    let output = bise(arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && !told.contains("panicked"),
        "{arguments:?}: {told}"
    );
    for word in words {
        assert!(told.contains(word), "{arguments:?}: no `{word}` in {told}");
    }
}

const BASE: &str = "random/mistral-no-window";

fn floats(file: &Path, name: &str) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let words = file.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
    words.into_iter().map(f32::from_le_bytes).collect()
}

/// What `bise logits` says of the golden's tokens.
fn logits(folder: &TempDir, model: &str, more: &[&str]) -> Vec<f32> {
    let golden = PathBuf::from(fixture("goldens/adapters/plain.safetensors"));
    let bytes = fs::read(golden).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tokens = file.tensor("tokens").unwrap().data().as_chunks::<4>().0.to_vec();
    let tokens: Vec<String> = tokens
        .into_iter()
        .map(|t| u32::from_le_bytes(t).to_string())
        .collect();
    let out = folder.path().join("logits");
    let line = ["logits", model, "--kv-type", "f32", "--tokens", &tokens.join(",")];
    succeeds(&[&line[..], &["-o", out.to_str().unwrap()], more].concat());
    floats(&out, "logits")
}

fn check_close(got: &[f32], expected: &[f32]) {
    let largest = expected.iter().fold(0f32, |most, l| most.max(l.abs()));
    let most = got
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0f32, f32::max);
    assert!(
        got.len() == expected.len() && most <= 1e-4 * largest,
        "{most} of {largest}"
    );
}

#[test]
fn logits_and_merged_files_are_those_of_peft() {
    let folder = TempDir::new().unwrap();
    let golden = PathBuf::from(fixture("goldens/adapters/plain.safetensors"));
    let [beside, merged, combined] =
        ["logits", "merged", "combined"].map(|name| floats(&golden, name));
    let (base, plain, ranks) = (
        fixture(BASE),
        fixture("adapters/plain"),
        fixture("adapters/ranks"),
    );
    check_close(&logits(&folder, &base, &["--lora", &plain]), &beside);
    let gguf = fixture("adapters/gguf/plain.gguf:1.0");
    check_close(&logits(&folder, &base, &["--lora", &gguf]), &beside);
    let several = [&*format!("{plain}:0.5"), &format!("{ranks}:-1.25")].map(str::to_owned);
    let more = ["--lora", &several[0], "--lora-scaled", &several[1]];
    check_close(&logits(&folder, &base, &more), &combined);
    let file = folder.path().join("merged.gguf");
    let file = file.to_str().unwrap();
    succeeds(&["quantize", &base, file, "--type", "F32", "--lora", &plain]);
    check_close(&logits(&folder, file, &[]), &merged);
    succeeds(&["verify", file]);
    assert!(succeeds(&["inspect", file]).contains("plain:1"));
}

#[test]
fn adapters_are_inspected() {
    let told = succeeds(&["inspect", &fixture("adapters/plain")]);
    for words in [
        "LoRA adapter (PEFT) for random/mistral-no-window",
        "14 matrices of rank 4, times 2;",
        "attn_q 2",
        "ffn_down 2",
        "--lora",
    ] {
        assert!(told.contains(words), "no `{words}` in {told}");
    }
    let told = succeeds(&["inspect", "--json", &fixture("adapters/gguf/experts.gguf")]);
    let object: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(object["container"], "GGUF");
    assert_eq!(object["targets"]["ffn_gate_exps"], 8);
    assert_eq!(object["pairs"][0]["rank"], 3);
}

/// An adapter that changes what the demonstration model says.
fn adapter_of_demo(folder: &Path) -> String {
    let mut metadata = Metadata::new();
    metadata.insert("general.type", "adapter");
    metadata.insert("general.architecture", "llama");
    metadata.insert("adapter.type", "lora");
    let halves = ["lora_a", "lora_b"].map(|half| format!("blk.0.attn_v.weight.{half}"));
    let specs = halves
        .iter()
        .zip([[256, 1], [1, 64]])
        .map(|(name, dims)| TensorSpec {
            name: name.clone(),
            dims: dims.to_vec(),
            dtype: DType::F32,
        });
    let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
    for (name, count) in halves.iter().zip([256u32, 64]) {
        let value = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let values: Vec<u8> = (0..count).flat_map(|i| value(i).to_le_bytes()).collect();
        writer.write_tensor(name, &values).unwrap();
    }
    let path = folder.join("demo-adapter.gguf");
    fs::write(&path, writer.finish().unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn texts_sessions_and_prompt_caches() {
    let folder = TempDir::new().unwrap();
    let (adapter, demo) = (adapter_of_demo(folder.path()), fixture("demo.gguf"));
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (session, cache) = (at("session"), at("cache"));
    let run = |more: &[&str]| {
        let line = [
            "run",
            &demo,
            "-p",
            "Once upon a time there was",
            "-n",
            "24",
            "--temp",
            "0",
        ];
        succeeds(&[&line, more].concat())
    };
    let (bare, adapted) = (run(&[]), run(&["--lora", &adapter]));
    assert_ne!(bare, adapted);
    assert_eq!(run(&["--lora", &format!("{adapter}:0")]), bare);
    // What was read with an adapter is read again without, and with another scale.
    for _ in 0..2 {
        assert_eq!(run(&["--lora", &adapter, "--prompt-cache", &cache]), adapted);
        assert_eq!(run(&["--prompt-cache", &cache]), bare);
    }
    run(&["--lora", &adapter, "--session", &session]);
    let words = ["the session does not fit"];
    let line = ["run", &demo, "-p", " and", "-n", "2", "--session", &session];
    fails(&line, &words);
    let half = format!("{adapter}:0.5");
    fails(&[&line[..], &["--lora", &half]].concat(), &words);
    succeeds(&[&line[..], &["--lora", &adapter]].concat());
    // A model that drafts has no adapter, and changes nothing.
    assert_eq!(run(&["--lora", &adapter, "--draft", &demo]), adapted);
    let text = at("text");
    fs::write(&text, "Once upon a time there was a dog who lived in a house.").unwrap();
    // Of a quantized model, what is merged into it is quantized again.
    let (sums, merged) = (at("sums.imatrix"), at("merged.gguf"));
    succeeds(&["imatrix", &demo, "-f", &text, "-o", &sums, "--lora", &adapter]);
    let line = [
        "quantize",
        &demo,
        &merged,
        "--type",
        "Q8_0",
        "--imatrix",
        &sums,
        "--lora",
        &adapter,
    ];
    fails(&line, &["--allow-requantize"]);
    let told =
        succeeds(&[&line[..], &["--allow-requantize", "--calibrate", &text, "--json"]].concat());
    assert!(told.contains("divergence"), "{told}");
    succeeds(&["verify", &merged]);
    let perplexity =
        |more: &[&str]| succeeds(&[&["perplexity", &demo, "-f", &text], more].concat());
    assert_ne!(perplexity(&[]), perplexity(&["--lora", &adapter]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = TempDir::new().unwrap();
    let adapter = adapter_of_demo(folder.path());
    let logits = |model: &str, lora: &str, words: &[&str]| {
        let out = folder.path().join("logits");
        let line = [
            "logits",
            model,
            "--tokens",
            "1,2",
            "-o",
            out.to_str().unwrap(),
            "--lora",
            lora,
        ];
        fails(&line, words);
    };
    let base = fixture(BASE);
    logits(
        &base,
        &adapter,
        &["demo-adapter.gguf", "has the shape", "trained on"],
    );
    logits(
        &base,
        &fixture("demo.gguf"),
        &["general.type is 'model'", "expected 'adapter'"],
    );
    logits(&base, &base, &["no adapter_config.json"]);
    logits(&base, "nowhere:2", &["nowhere"]);
    // An adapter in the model's place.
    let line = ["run", &adapter, "-p", "x", "-n", "1"];
    fails(&line, &["general.type is 'adapter'", "--lora"]);
    let folder = fixture("adapters/plain");
    let line = ["run", &folder, "-p", "x", "-n", "1"];
    fails(
        &line,
        &[
            "only a LoRA adapter",
            "give its base model, random/mistral-no-window",
            "--lora",
        ],
    );
}
