//! `bise embed`: lines in, lines out.

use bise_format::gguf::{Gguf, GgufWriter, TensorSpec};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name);
    path.display().to_string()
}

fn embed(arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_bise"))
        .arg("embed")
        .args(arguments)
        .env_remove("BISE_MODEL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    program.wait_with_output().unwrap()
}

/// The lines that come out.
fn lines(arguments: &[&str], input: &str) -> Vec<Value> {
    let output = embed(arguments, input);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn lines_of_all_forms_are_the_same() {
    let texts = ["Once upon a time", "caf\u{e9} \"\\"];
    let plain = lines(&["--text"], &format!("{}\r\n{}", texts[0], texts[1]));
    assert_eq!(plain.len(), 2);
    for line in &plain {
        let values = line["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap());
        let length: f64 = values.map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    let objects = texts.map(|text| json!({"text": text}).to_string()).join("\n\n");
    assert_eq!(lines(&[], &objects), plain);
    let strings = texts.map(|text| json!(text).to_string()).join("\n");
    assert_eq!(lines(&["-f", "-"], &strings), plain);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("texts");
    std::fs::write(&file, strings).unwrap();
    let file = file.display().to_string();
    assert_eq!(lines(&[&fixture("demo.gguf"), "-f", &file], ""), plain);
    let named = lines(&[], &json!({"id": [7], "text": texts[0]}).to_string());
    assert_eq!(named, [json!({"id": [7], "embedding": plain[0]["embedding"]})]);
    for pooling in ["mean", "cls"] {
        let other = lines(&["--text", "--pooling", pooling], texts[0]);
        assert_ne!(other[0], plain[0]);
    }
    assert_eq!(lines(&["--text", "--pooling", "last"], texts[0])[0], plain[0]);
}

/// What is wrong stands in its line, and the others have their results.
#[test]
fn what_is_wrong_is_said() {
    let long = json!("word ".repeat(9000));
    let input = format!("\"a\"\n5\n{{\"id\": 1}}\n{{\"text\": 5}}\n{{\n{long}\n\"b\"\n");
    let output = embed(&[], &input);
    assert!(output.status.success());
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(problem.contains("5 lines have an error"), "{problem}");
    let found = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = found
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(found[0]["embedding"].is_array() && found[6]["embedding"].is_array());
    let words = [
        "expected a text",
        "no \"text\"",
        "expected a text",
        "not JSON",
        "too long",
    ];
    for (line, word) in found[1..6].iter().zip(words) {
        assert!(line["error"].as_str().unwrap().contains(word), "{word}: {line}");
        assert!(line.get("embedding").is_none());
    }
    assert_eq!(found[2]["id"], 1);
    for arguments in [&["--pooling", "max"][..], &["-f", "/nowhere/texts"]] {
        assert!(!embed(arguments, "").status.success(), "{arguments:?}");
    }
}

/// From texts to vectors as transformers makes them.
#[test]
fn embeddings_are_those_of_transformers() {
    let rows = std::fs::read(fixture("goldens/embeddings.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&rows).unwrap();
    let rows: Vec<&Value> = rows.iter().filter(|row| row["text"].is_string()).collect();
    assert!(!rows.is_empty());
    let input: String = rows.iter().map(|row| format!("{}\n", row["text"])).collect();
    for pooling in ["last", "mean", "cls"] {
        let model = fixture("tiny-mistral");
        let found = lines(&[&model, "--kv-type", "f32", "--pooling", pooling], &input);
        for (found, row) in found.iter().zip(&rows) {
            let values = |list: &Value| -> Vec<f64> {
                list.as_array()
                    .unwrap()
                    .iter()
                    .map(|x| x.as_f64().unwrap())
                    .collect()
            };
            let (found, expected) = (values(&found["embedding"]), values(&row[pooling]));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{pooling}: {found} against {expected}"
                );
            }
        }
    }
}

/// The bytes of a model like the built-in one, whose file says this of pooling.
fn model_with(pooling: u32) -> Vec<u8> {
    let file = std::fs::read(fixture("demo.gguf")).unwrap();
    let mut gguf = Gguf::parse(&file).unwrap();
    gguf.metadata.insert("llama.pooling_type", pooling);
    let specs = gguf.tensors.values().map(|info| TensorSpec {
        name: info.name.clone(),
        dims: info.dims.clone(),
        dtype: info.dtype,
    });
    let mut writer = GgufWriter::new(Vec::new(), &gguf.metadata, specs).unwrap();
    for info in gguf.tensors.values() {
        writer.write_tensor(&info.name, gguf.bytes(&file, info)).unwrap();
    }
    writer.finish().unwrap()
}

/// A file that says how its embeddings are made need not be told.
#[test]
fn files_say_how_embeddings_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let name = path.display().to_string();
    let text = "\"Once upon a time\"";
    for (number, how) in [(1, "mean"), (2, "cls"), (3, "last"), (0, "last")] {
        std::fs::write(&path, model_with(number)).unwrap();
        let expected = lines(&["--pooling", how], text);
        assert_eq!(lines(&[&name], text), expected, "{how}");
        let other = if how == "last" { "mean" } else { "last" };
        assert_ne!(lines(&[&name, "--pooling", other], text), expected);
    }
    std::fs::write(&path, model_with(4)).unwrap();
    let output = embed(&[&name], text);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("llama.pooling_type"));
}
