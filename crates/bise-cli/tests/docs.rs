//! What the documents say of files.

use std::path::{Path, PathBuf};

/// The documents: of the project's root, of docs/, and those that stand beside what they describe.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// What links lead to, and words that are paths in the project; words with capitals alone stand for
/// any name.
fn named(text: &str) -> Vec<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let roots = [
        "crates/",
        "tools/",
        "docs/",
        "fixtures/",
        "benches/",
        "fuzz/",
        "findings/",
        "examples/",
    ];
    let ends = |c: char| c.is_whitespace() || "`()[]\",;|'".contains(c);
    let words = text
        .split(ends)
        .map(|word| word.trim_end_matches(['.', ':', '/']));
    let any = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_uppercase());
    let paths = words.filter(|word| roots.iter().any(|root| word.starts_with(root)));
    let paths =
        paths.filter(|path| !path.contains(['*', '{', '<', '$']) && !path.split('/').any(any));
    links
        .chain(paths)
        .map(|name| name.split(['#', ':']).next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_file_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    documents(&root, &mut files);
    assert!(files.len() > 3);
    let (mut names, mut missing) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for name in named(&text) {
            names += 1;
            if !name.is_empty()
                && !root.join(&name).exists()
                && !file.parent().unwrap().join(&name).exists()
            {
                missing.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(names > 5);
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The table of sizes in README.md is what the quantizer would write.
#[test]
fn the_sizes_of_models_are_right() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let (_, table) = text
        .split_once("| | Mistral 7B | Mixtral 8x7B | Mixtral 8x22B |")
        .unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for row in table.lines().skip(2).take_while(|line| line.starts_with("| ")) {
        let name = row.split('|').nth(1).unwrap().trim();
        let size = |shape: &str| {
            let model = bise_quantize::Synthetic::new(&format!("{shape}:{name}"), None).unwrap();
            format!("{:.1}", model.file_len() as f64 / f64::from(1 << 30))
        };
        let sizes = ["mistral-7b", "mixtral-8x7b", "mixtral-8x22b"]
            .map(size)
            .join(" | ");
        let expected = format!("| {name} | {sizes} |");
        rows += 1;
        if row != expected {
            wrong.push(expected);
        }
    }
    assert!(rows > 3 && wrong.is_empty(), "{wrong:#?}");
}
