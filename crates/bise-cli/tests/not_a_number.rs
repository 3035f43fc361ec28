//! A model that computes what is no number: every command says so, names the place, and fails.

use bise_format::gguf::Gguf;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn bise(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bise"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input is fine.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = bise(arguments, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    path.join(name).to_str().unwrap().to_owned()
}

/// A quantized model of which one scale is NaN, in a row of the file that is only read when its
/// token comes.
struct Damaged {
    folder: TempDir,
}

impl Damaged {
    /// The token after `before` in `text` is the one whose embedding is damaged.
    fn new(token: usize) -> Self {
        let damaged = Self {
            folder: TempDir::new().unwrap(),
        };
        let (good, bad) = (damaged.path("good.gguf"), damaged.path("bad.gguf"));
        succeeds(&[
            "quantize",
            &fixture("tiny-mistral"),
            &good,
            "--type",
            "Q8_0",
            "--no-probe",
        ]);
        let mut bytes = std::fs::read(&good).unwrap();
        let gguf = Gguf::parse(&bytes).unwrap();
        let info = gguf.tensor("token_embd.weight").unwrap();
        let row = info.len as usize / info.dims[1] as usize;
        let at = (gguf.data_offset + info.offset) as usize + token * row;
        bytes[at..at + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
        std::fs::write(&bad, bytes).unwrap();
        std::fs::write(damaged.path("text"), TEXT.repeat(20)).unwrap();
        damaged
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }
}

const TEXT: &str = "Once upon a time there was a girl. She had a dog. ";

/// The last token of `text`.
fn last_token(text: &str) -> usize {
    let json = succeeds(&["tokenize", &fixture("tiny-mistral"), "--json", text]);
    let json: Value = serde_json::from_str(&json).unwrap();
    json["ids"].as_array().unwrap().last().unwrap().as_u64().unwrap() as usize
}

#[test]
fn every_command_names_the_place_and_fails() {
    let token = last_token("Once upon a time");
    let damaged = Damaged::new(token);
    let [good, bad, text, out] =
        ["good.gguf", "bad.gguf", "text", "out"].map(|name| damaged.path(name));
    let sums = damaged.path("sums");
    succeeds(&["imatrix", &good, "-f", &text, "-o", &sums]);
    let before = std::fs::read(&sums).unwrap();
    let commands: [&[&str]; 6] = [
        &["run", &bad, "-p", "Once upon a time", "-n", "4", "--temp", "0"],
        &["run", &bad, "-p", "Once upon a time", "-n", "4", "--json"],
        &["logits", &bad, "-p", "Once upon a time", "-o", &out],
        &["perplexity", &bad, "-f", &text],
        &["perplexity", &bad, "-f", &text, "--json"],
        &["imatrix", &bad, "-f", &text, "-o", &sums],
    ];
    for command in commands {
        let output = bise(command, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        let place =
            format!("tensor 'token_embd.weight' has NaN for a weight, in row {token}, column 0");
        assert!(
            said.contains("NaN") && said.contains(&place),
            "{command:?}: {said}"
        );
        let shown = String::from_utf8(output.stdout).unwrap();
        match command {
            ["run", .., "--json"] => assert_eq!(
                serde_json::from_str::<Value>(&shown).unwrap()["stop_reason"],
                "error"
            ),
            ["run", ..] => assert_eq!(shown.trim_end(), "Once upon a time"),
            _ => assert_eq!(shown, "", "{command:?}"),
        }
    }
    assert!(std::fs::read(&sums).unwrap() == before, "sums that are good stay");
    assert!(!Path::new(&out).exists());
    let chat = bise(&["chat", &bad, "--template", "v1"], "Once upon a time\n");
    let said = String::from_utf8_lossy(&chat.stderr).into_owned();
    assert!(
        said.contains("token_embd.weight") && !chat.status.success(),
        "{said}"
    );
}

/// A source that cannot be run is told before it is quantized.
#[test]
fn a_source_that_computes_no_numbers_cannot_be_compared_with() {
    let damaged = Damaged::new(last_token("Once upon a time"));
    let [bad, text, out] = ["bad.gguf", "text", "out.gguf"].map(|name| damaged.path(name));
    let more = [
        "--type",
        "Q4_0",
        "--calibrate",
        &text,
        "--json",
        "--allow-requantize",
    ];
    let output = bise(&[&["quantize", &bad, &out][..], &more].concat(), "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the model that is quantized") && said.contains("token_embd"),
        "{said}"
    );
    assert!(output.stdout.is_empty() && !Path::new(&out).exists());
}
