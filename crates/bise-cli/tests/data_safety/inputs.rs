//! Every command with every input as its output, under other names too.

use super::paths::{MODEL, PATHS, PathOption, Role};
use super::{bise, contents, fails, fixture, succeeds, text};
use bise_format::gguf::{GgufWriter, Metadata, TensorSpec};
use bise_kernels::block::DType;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with a sample of everything that commands read.
fn samples() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::copy(fixture("demo.gguf"), at("model.gguf")).unwrap();
    fs::create_dir(at("checkpoint")).unwrap();
    for entry in fs::read_dir(fixture("tiny-mistral")).unwrap() {
        let path = entry.unwrap().path();
        fs::write(
            at("checkpoint").join(path.file_name().unwrap()),
            fs::read(&path).unwrap(),
        )
        .unwrap();
    }
    let [user, assistant] = [("user", "Hello"), ("assistant", "Hi")]
        .map(|(role, content)| serde_json::json!({ "role": role, "content": content }));
    let talk = serde_json::json!({ "messages": [user, assistant] }).to_string();
    for (name, text) in [
        (
            "text",
            "Once upon a time there was a dog who lived in a house with a cat and a bird that sang.",
        ),
        ("tokens", "1 2 3"),
        ("rows.jsonl", "{\"prompt\": \"Hello\"}\n"),
        ("schema.json", r#"{"type": "object"}"#),
        ("grammar.lark", "start: \"a\""),
        ("template.jinja", "{{ messages[0].content }}"),
        ("replay.json", r#"[{"name": "a", "prompt": [1], "answer": [2]}]"#),
        ("talk.json", &talk),
    ] {
        fs::write(at(name), text).unwrap();
    }
    fs::write(at("adapter.gguf"), adapter()).unwrap();
    succeeds(
        folder.path(),
        &["imatrix", "model.gguf", "-f", "text", "-o", "sums.imatrix"],
        "",
    );
    folder
}

/// An adapter for the demonstration model, which changes a query's matrix.
fn adapter() -> Vec<u8> {
    let mut metadata = Metadata::new();
    metadata.insert("general.type", "adapter");
    metadata.insert("general.architecture", "llama");
    metadata.insert("adapter.type", "lora");
    metadata.insert("adapter.lora.alpha", 1f32);
    let halves = ["lora_a", "lora_b"].map(|half| format!("blk.0.attn_q.weight.{half}"));
    let specs = halves
        .iter()
        .zip([[256, 1], [1, 256]])
        .map(|(name, dims)| TensorSpec {
            name: name.clone(),
            dims: dims.to_vec(),
            dtype: DType::F32,
        });
    let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
    let values = [0.01f32; 256].map(f32::to_le_bytes).concat();
    for name in &halves {
        writer.write_tensor(name, &values).unwrap();
    }
    writer.finish().unwrap()
}

/// The command line that reads `input` by the option `reads`, all else as usual, and writes
/// `output` by the option `writes`.
fn command_line(reads: &PathOption, input: &str, writes: &PathOption, output: &str) -> Vec<String> {
    let asked = |id: &str, usual: &[&str]| match reads.id == id {
        true => vec![reads.flag.to_owned(), input.to_owned()],
        false => usual.iter().map(|word| word.to_string()).collect(),
    };
    let mut line: Vec<String> = vec![reads.command.to_owned()];
    match reads.command {
        // What bench writes is made of nothing.
        "bench" => {
            line.extend(["--synthetic", "mistral-7b:Q4_0", "--layers", "1"].map(str::to_owned))
        }
        _ if reads.id == "named" => line.extend(["-m".to_owned(), input.to_owned()]),
        _ if ["model", "src", "old"].contains(&reads.id) => line.push(input.to_owned()),
        _ => line.push("model.gguf".to_owned()),
    }
    match reads.command {
        "run" if reads.id == "input_jsonl" => {}
        "run" if writes.id == "output_jsonl" => {
            line.extend(["--input-jsonl", "rows.jsonl"].map(str::to_owned))
        }
        "run" => line.extend(
            asked("file", &["-p", "Hello"])
                .into_iter()
                .chain(["-n".into(), "2".into()]),
        ),
        "chat" => line.extend(["-n".into(), "2".into()]),
        "imatrix" => line.extend(asked("file", &["-f", "text"])),
        "logits" => line.extend(asked("tokens_file", &["--tokens", "1,2"])),
        "quantize" => line.extend(["--type".into(), "Q8_0".into(), "--no-probe".into()]),
        _ => {}
    }
    if (reads.command, reads.id) == ("run", "template") {
        line.push("--chat".to_owned());
    }
    let placed = ["model", "named", "src", "old", "file", "tokens_file"];
    if !placed.contains(&reads.id) {
        line.extend([reads.flag.to_owned(), input.to_owned()]);
    }
    line.extend([writes.flag, output].map(str::to_owned));
    line.retain(|word| !word.is_empty());
    line
}

/// Names under which `input`, a path in `folder`, can be written besides its own.
fn other_names(folder: &Path, input: &str) -> Vec<String> {
    let mut names = vec![
        input.to_owned(),
        format!("./{input}"),
        format!("checkpoint/../{input}"),
    ];
    let mut link = |name: &str, made: std::io::Result<()>| {
        made.unwrap();
        names.push(name.to_owned());
    };
    link("hard", fs::hard_link(folder.join(input), folder.join("hard")));
    #[cfg(unix)]
    link("soft", std::os::unix::fs::symlink(input, folder.join("soft")));
    names
}

/// Files that `reads` may be given: paths of inputs, and for each the files that are read then.
fn inputs(folder: &Path, reads: &PathOption) -> Vec<(String, Vec<String>)> {
    let Role::Reads(sample) = reads.role else {
        return Vec::new();
    };
    if reads.role != MODEL {
        return vec![(sample.to_owned(), vec![sample.to_owned()])];
    }
    let one = ("model.gguf".to_owned(), vec!["model.gguf".to_owned()]);
    let files = fs::read_dir(folder.join("checkpoint")).unwrap();
    let name =
        |path: PathBuf| format!("checkpoint/{}", path.file_name().unwrap().to_str().unwrap());
    let files = files.map(|entry| name(entry.unwrap().path())).collect();
    let folder = ("checkpoint".to_owned(), files);
    // Repack takes files only.
    if reads.command == "repack" {
        vec![one]
    } else {
        vec![one, folder]
    }
}

/// Bench writes no model that it reads; many prompts are no session, come from
/// one file, and draft from their own text.
fn exclude_each_other(reads: &PathOption, writes: &PathOption) -> bool {
    match (reads.command, reads.id, writes.id) {
        ("bench", id, _) => id != "replay",
        ("run", "input_jsonl", written) => written == "session",
        ("run", "file" | "draft", written) => written == "output_jsonl",
        _ => false,
    }
}

#[test]
fn no_output_replaces_an_input() {
    let folder = samples();
    let folder = folder.path();
    let before = contents(folder);
    let mut tried = 0;
    for writes in PATHS.iter().filter(|path| path.role == Role::Writes) {
        let reads = PATHS.iter().filter(|path| path.command == writes.command);
        for reads in reads.filter(|reads| !exclude_each_other(reads, writes)) {
            for (input, files) in inputs(folder, reads) {
                for file in files {
                    for output in other_names(folder, &file) {
                        let line = command_line(reads, &input, writes, &output);
                        let line: Vec<&str> = line.iter().map(String::as_str).collect();
                        let told = fails(folder, &line, "Hello\n");
                        assert!(told.contains(&output) && told.contains(&file), "{line:?}: {told}");
                        assert!(told.contains("the same file as"), "{line:?}: {told}");
                        tried += 1;
                    }
                    for name in ["hard", "soft"] {
                        let _ = fs::remove_file(folder.join(name));
                    }
                    assert!(contents(folder) == before, "{reads:?} {writes:?} {file}");
                }
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

/// `/save` writes while a chat goes on.
#[test]
fn save_replaces_nothing_but_conversations() {
    let folder = samples();
    let folder = folder.path();
    let before = contents(folder);
    let reads = PATHS
        .iter()
        .filter(|path| path.command == "chat" && path.id != "load");
    for reads in reads {
        for (input, files) in inputs(folder, reads) {
            for output in files.iter().flat_map(|file| [file.clone(), format!("./{file}")]) {
                let line = match reads.id {
                    "model" => vec!["chat", "--template", "v1", &input],
                    "named" => vec!["chat", "--template", "v1", "-m", &input],
                    _ => vec!["chat", reads.flag, &input],
                };
                let told = bise(folder, &line, &format!("/save {output}\n"));
                let told = text(&told.stderr);
                assert!(told.contains("the same file as"), "{line:?} {output}: {told}");
                assert!(contents(folder) == before, "{line:?} {output}");
            }
        }
    }
    // What nobody reads, but is no conversation.
    for output in [
        "tokens",
        "replay.json",
        "sums.imatrix",
        "checkpoint/config.json",
        "checkpoint",
    ] {
        let told = bise(folder, &["chat"], &format!("/save {output}\n"));
        let told = text(&told.stderr);
        assert!(told.contains(output), "{output}: {told}");
        assert!(contents(folder) == before, "{output}: {told}");
    }
}

/// A conversation may be saved over another one, and over the one it goes on from when all of that
/// is in it.
#[test]
fn a_conversation_goes_on_in_its_file() {
    let folder = samples();
    let folder = folder.path();
    let messages = |name: &str| -> Vec<serde_json::Value> {
        let talk: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap();
        talk["messages"].as_array().unwrap().clone()
    };
    let first = messages("talk.json");
    let chat = ["chat", "-n", "4", "--load", "talk.json"];
    succeeds(folder, &chat, "And then?\n/save talk.json\n");
    let longer = messages("talk.json");
    assert!(longer.len() == 4 && longer.starts_with(&first), "{longer:?}");
    let told = bise(folder, &chat, "/reset\nHello\n/save ./talk.json\n");
    assert!(
        text(&told.stderr).contains("was loaded"),
        "{}",
        text(&told.stderr)
    );
    assert_eq!(messages("talk.json"), longer);
    succeeds(folder, &["chat", "-n", "4"], "Hello\n/save talk.json\n");
    assert_eq!(messages("talk.json").len(), 2);
}

/// What is no session is not taken for one, nor for a folder of prompts; a user's own file in that
/// folder stays.
#[test]
fn sessions_and_prompt_caches_replace_nothing_else() {
    let folder = samples();
    let folder = folder.path();
    let before = contents(folder);
    for name in ["tokens", "talk.json", "model.gguf"] {
        for command in [&["run", "-p", "Hello"][..], &["chat"]] {
            let told = fails(folder, &[command, &["--session", name]].concat(), "");
            assert!(told.contains(name) && told.contains("no session"), "{told}");
            let told = fails(folder, &[command, &["--prompt-cache", name]].concat(), "");
            assert!(told.contains(name), "{told}");
        }
    }
    assert!(contents(folder) == before);
    fs::create_dir(folder.join("cache")).unwrap();
    fs::write(folder.join("cache/long.prompt"), "word ".repeat(1 << 18)).unwrap();
    let line = [
        "run",
        "-f",
        "text",
        "-n",
        "2",
        "--prompt-cache",
        "cache",
        "--prompt-cache-size",
        "1",
    ];
    succeeds(folder, &line, "");
    let left = contents(&folder.join("cache"));
    assert!(
        left.len() == 2 && left.contains_key(&folder.join("cache/long.prompt")),
        "{:?}",
        left.keys()
    );
}
