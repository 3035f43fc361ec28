//! What must stand in one place only, held by looking through the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// The sources below `folder`, by their paths.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The code of a source, line by line, without comments and without the unit tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    let before_tests = lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    before_tests.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a literal in `line` names a tensor as GGUF does.
fn names_a_tensor(line: &str) -> bool {
    const PARTS: [&str; 13] = [
        "blk.",
        "_exps",
        "token_embd",
        "output_norm",
        "rope_freqs",
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    // Every second piece between quotes is a literal, a line at a time.
    let mut literals = line.split('"').skip(1).step_by(2);
    literals.any(|text| text == "output.weight" || PARTS.iter().any(|part| text.contains(part)))
}

/// GGUF's names of tensors are read and written by `TensorName` alone.
#[test]
fn tensor_names_have_one_place() {
    // Mistral's own name of the output matrix is that of GGUF.
    const ALLOWED: [&str; 2] = [
        "crates/bise-format/src/tensor_name.rs",
        "crates/bise-format/src/native.rs",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    for folder in ["crates", "tools"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let src = entry.unwrap().path().join("src");
            if src.is_dir() {
                sources(&src, &mut paths);
            }
        }
    }
    assert!(paths.len() > 200, "{} sources", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        let is_test = name.ends_with("/tests.rs");
        if is_test || ALLOWED.contains(&&*name) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let found = code(&text).filter(|(_, line)| names_a_tensor(line));
        wrong.extend(found.map(|(n, line)| format!("{name}:{}: {}", n + 1, line.trim())));
    }
    assert!(wrong.is_empty(), "use TensorName:\n{}", wrong.join("\n"));
}
