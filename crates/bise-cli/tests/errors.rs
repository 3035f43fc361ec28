//! How errors are made, held by looking through the sources: each says what it knows and holds what
//! caused it, so that a chain of them says everything once. And what the program then says.

use bise_format::gguf::Gguf;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sources of all crates, by their paths.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders: Vec<PathBuf> = ["crates", "tools"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path().join("src"))
        .filter(|src| src.is_dir())
        .collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 200, "{} sources", found.len());
    found
}

/// The public enums of errors of a source: what stands before their names, and their variants.
fn enums(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let derived = text.split("thiserror::Error)]").skip(1);
    derived.filter_map(|rest| {
        let (item, _) = rest.split_once("\n}")?;
        let (before, variants) = item.split_once("pub enum ")?;
        let attributes_only = before
            .lines()
            .all(|line| line.is_empty() || line.starts_with("#["));
        attributes_only.then_some((before, variants))
    })
}

/// Variants of errors may be added, and none says what the error beneath it says.
#[test]
fn errors_hold_what_caused_them() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, text) in sources() {
        for (before, variants) in enums(&text) {
            seen += 1;
            let title = variants.split(' ').next().unwrap();
            if !before.contains("#[non_exhaustive]") {
                wrong.push(format!("{name}: {title} is exhaustive"));
            }
            // What stands between two messages is a variant, and the comment of the next.
            for variant in variants.split("#[error(").skip(1) {
                let (message, fields) = variant.split_once(")]\n").unwrap();
                let fields: Vec<&str> = fields
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                let fields = fields.join("\n");
                let is_marked = ["#[from]", "#[source]", "source: "]
                    .iter()
                    .any(|mark| fields.contains(mark));
                if fields.contains("Error") && !is_marked {
                    wrong.push(format!("{name}: {title}: a cause that is no source: {fields}"));
                }
                let repeats = ["{0", "{source", ".source", "{}\", .0"]
                    .iter()
                    .any(|part| message.contains(part));
                if is_marked && repeats {
                    wrong.push(format!("{name}: {title}: {message} says what its source says"));
                }
            }
        }
    }
    assert!(seen > 12, "{seen} enums");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whoever calls a public function can tell errors from texts.
#[test]
fn no_public_function_fails_with_a_text() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for signature in text.split("pub fn ").skip(1) {
            let end = signature.find(['{', ';']).unwrap_or(signature.len());
            let signature = signature[..end].split_whitespace().collect::<Vec<_>>().join(" ");
            let result = signature.split_once("-> ").map_or("", |(_, result)| result);
            if result.starts_with("Result<") && result.contains(", String>") {
                wrong.push(format!("{name}: {signature}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

/// What the program says, in `folder`, when it fails.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_bise"));
    let output = program.current_dir(folder).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).unwrap()
}

/// The program tells the whole chain, nothing of it twice.
#[test]
fn the_program_says_all_of_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let demo = fs::read(fixture("demo.gguf")).unwrap();
    let gguf = Gguf::parse(&demo).unwrap();

    // A scale that is NaN, in a tensor of a layer.
    let mut damaged = demo.clone();
    let start = gguf.data_offset + gguf.tensor("blk.0.attn_k.weight").unwrap().offset;
    damaged[start as usize..][..2].copy_from_slice(&0x7e00u16.to_le_bytes());
    fs::write(at("damaged.gguf"), &damaged).unwrap();
    fs::write(at("short.gguf"), &demo[..100_000]).unwrap();
    fs::create_dir(at("bare")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixture("tiny-mistral").join(name), at("bare").join(name)).unwrap();
    }

    let cases: [(&[&str], &[&str]); 9] = [
        (
            &["run", "damaged.gguf", "Once"],
            &["error: damaged.gguf: tensor 'blk.0.attn_k.weight' has NaN for a weight"],
        ),
        (
            &["verify", "damaged.gguf"],
            &[
                "the model does not run: the weights of layer 0 cannot be used: tensor 'blk.0.attn_k.weight' has NaN",
            ],
        ),
        (
            &["run", "short.gguf", "Once"],
            &["error: short.gguf: tensor `token_embd.weight`: the file ends too soon: "],
        ),
        (
            &["quantize", "short.gguf", "q.gguf", "--type", "Q8_0"],
            &["error: short.gguf: tensor `token_embd.weight`: the file ends too soon: "],
        ),
        (
            &["quantize", "bare", "absent/q.gguf", "--type", "Q8_0"],
            &["error: cannot write absent/q.gguf: there is no folder absent; "],
        ),
        (
            &["run", "bare", "Once"],
            &["error: bare: the model has no tokenizer\nget tokenizer.model, "],
        ),
        (
            &["repack", "bare", "r.gguf"],
            &["error: bare: a folder, and only GGUF files can be repacked\nbise quantize "],
        ),
        (
            &[
                "chat",
                &fixture("demo.gguf").display().to_string(),
                "--template",
                "./none.jinja",
            ],
            &["error: "],
        ),
        (
            &[
                "run",
                &fixture("demo.gguf").display().to_string(),
                "Once",
                "--regex",
                "(a",
            ],
            &["error: --regex: the regular expression is not accepted: "],
        ),
    ];
    for (arguments, words) in cases {
        let said = refused(folder.path(), arguments);
        for word in words {
            assert!(said.contains(word), "{arguments:?}: {said}");
        }
        assert!(!said.ends_with("\n\n"), "{arguments:?}: {said:?}");
        let last = said.rsplit("error: ").next().unwrap();
        let parts: Vec<&str> = last.trim().split(": ").collect();
        let twice = (1..parts.len()).find(|&i| parts[..i].contains(&parts[i]));
        assert!(twice.is_none(), "{arguments:?}: {said}");
    }
}
