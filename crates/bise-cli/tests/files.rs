//! `docs/FILES.md`: each kind of file is made, and what the document says of it is what happens.

#[path = "../../bise-model/tests/common/mod.rs"]
mod common;
mod files_made;

use std::path::Path;
use std::process::{Command, Output};

/// A row of a table in the document.
struct Row {
    section: String,
    kind: String,
    outcome: String,
    /// What is said.
    words: Vec<String>,
}

fn rows() -> Vec<Row> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/FILES.md");
    let (mut section, mut rows) = (String::new(), Vec::new());
    for line in std::fs::read_to_string(document).unwrap().lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, kind, outcome, words, _] = cells[..] else {
            continue;
        };
        if ["bise", "---"].contains(&outcome) {
            continue;
        }
        rows.push(Row {
            section: section.clone(),
            kind: kind.to_owned(),
            outcome: outcome.to_owned(),
            words: words.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        });
    }
    rows
}

fn bise(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bise"))
        .args(arguments)
        .current_dir(folder)
        .env("HF_HOME", folder.join("huggingface"))
        .env_remove("HF_HUB_CACHE")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

fn check(row: &Row) {
    let guard = tempfile::tempdir().unwrap();
    let folder = guard.path();
    let model = files_made::make(&row.section, &row.kind, folder);
    let (kind, model) = (&row.kind, model.as_str());
    let tokens = "1,5,7,9";
    let quantize: &[&str] = &["quantize", model, "made.gguf", "--type", "F16", "--no-probe"];
    let logits: &[&str] = &["logits", model, "--tokens", tokens, "-o", "logits"];
    let inspect: &[&str] = &["inspect", model];
    let refused: [&[&str]; 6] = [
        inspect,
        &["run", model, "-p", "x", "-n", "1"],
        logits,
        &["tokenize", model, "x"],
        &["verify", model, "--no-probe"],
        quantize,
    ];
    let (commands, runs) = match row.outcome.as_str() {
        "runs, converts" => (&[logits, inspect, quantize][..], true),
        "refused" => (&refused[..], false),
        "with its base model" => {
            let output = bise(folder, inspect);
            let told = said(&output);
            assert!(
                output.status.success() && told.contains("LoRA adapter ("),
                "{kind}: {told}"
            );
            (&refused[1..], false)
        }
        other => panic!("{kind}: {other}"),
    };
    for command in commands {
        let output = bise(folder, command);
        let said = said(&output);
        assert_eq!(
            output.status.code(),
            Some(i32::from(!runs)),
            "{kind}: {command:?}: {said}"
        );
        for words in &row.words {
            assert!(
                said.contains(words),
                "{kind}: {command:?}: no `{words}` in: {said}"
            );
        }
        assert_eq!(
            folder.join("made.gguf").exists(),
            runs && command[0] == "quantize",
            "{kind}"
        );
    }
}

fn check_section(section: &str, least: usize) {
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.section == section).collect();
    assert!(rows.len() >= least, "{section}: {} rows", rows.len());
    rows.iter().for_each(check);
}

#[test]
fn gguf() {
    check_section("GGUF", 20);
}

#[test]
fn folders() {
    check_section("Folders", 40);
}

#[test]
fn other_files() {
    check_section("Other files", 11);
}

#[test]
fn paths_at_which_nothing_is() {
    check_section("Paths at which nothing is", 8);
}
