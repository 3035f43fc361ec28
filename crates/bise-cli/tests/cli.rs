//! The program as a user meets it: output, errors, exit codes, pipes, Ctrl-C.

#[path = "../../bise-model/tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn bise(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    bise(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Standard output of a run that succeeds.
fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a run that fails with `code` and prints nothing else.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name);
    path.to_str().unwrap().to_owned()
}

fn spawn_with_pipes(arguments: &[&str]) -> Child {
    spawn(bise(arguments))
}

/// As [`spawn_with_pipes`], with signals that the program hears, whatever whoever started the tests
/// ignores: Linux's `env` sees to it.
#[cfg(unix)]
fn spawn_listening(arguments: &[&str]) -> Child {
    if cfg!(not(target_os = "linux")) {
        return spawn_with_pipes(arguments);
    }
    let mut command = Command::new("env");
    command
        .args(["--default-signal=INT,TERM,HUP", env!("CARGO_BIN_EXE_bise")])
        .args(arguments);
    spawn(command)
}

fn spawn(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_story_from_the_built_in_model() {
    let output = run(&["run", "-p", "Once upon a time", "--temp", "0", "--stats"]);
    let story = text(&output.stdout);
    assert!(output.status.success());
    assert!(
        story.starts_with("Once upon a time") && story.len() > 200 && story.ends_with('\n'),
        "{story}"
    );
    assert!(text(&output.stderr).contains("tok/s"));
    let quiet = run(&["run", "-p", "Once upon a time", "--temp", "0"]);
    assert!(quiet.stdout == output.stdout && quiet.stderr.is_empty());
    let rest = succeeds(&["run", "-p", "Once upon a time", "--temp", "0", "--no-echo"]);
    assert_eq!(format!("Once upon a time{rest}"), story);
}

#[test]
fn a_prompt_from_a_pipe() {
    let mut child = spawn_with_pipes(&["run", "--temp", "0", "-n", "5"]);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"Once upon a time")
        .unwrap();
    let piped = child.wait_with_output().unwrap();
    assert!(piped.status.success());
    assert_eq!(
        text(&piped.stdout),
        succeeds(&["run", "--temp", "0", "-n", "5", "-p", "Once upon a time"])
    );
}

#[test]
fn a_seed_gives_the_same_text_at_every_level_and_thread_count() {
    let story = |more: &[&str]| {
        let mut arguments =
            vec!["run", "-p", "One day", "-n", "60", "--temp", "1.2", "--seed", "7"];
        arguments.extend(more);
        succeeds(&arguments)
    };
    let expected = story(&[]);
    assert_eq!(story(&["--isa", "scalar", "-t", "1"]), expected);
    assert_eq!(story(&["-t", "3", "--batch", "1"]), expected);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = spawn_with_pipes(&["run", "-p", "Once", "--ignore-eos"]);
    let mut some = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panic"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_text_cleanly() {
    let mut child = spawn_listening(&["run", "-p", "Once", "--ignore-eos", "--stats"]);
    let mut some = [0; 40];
    child.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.ends_with(b"\n"));
    assert!(text(&output.stderr).contains("tok/s"), "statistics all the same");
}

/// Whichever signal ends it: the text is whole, the session kept, and the exit code tells.
#[cfg(unix)]
#[test]
fn signals_end_the_program() {
    let folder = tempfile::tempdir().unwrap();
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let session = folder.path().join(signal);
        let file = session.to_str().unwrap();
        let arguments = ["run", "-p", "Once", "--ignore-eos", "--session", file];
        let mut child = spawn_listening(&arguments);
        let mut some = [0; 40];
        child.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
        let end = |signal: &str, child: &std::process::Child| {
            let id = child.id().to_string();
            assert!(
                Command::new("kill")
                    .args([signal, &id])
                    .status()
                    .unwrap()
                    .success()
            );
        };
        end(signal, &child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stdout.ends_with(b"\n"));
        assert!(succeeds(&["run", "-p", " and", "--session", file, "-n", "1"]).contains("and"));

        // Where nothing is to be lost it ends at once: here it waits for a prompt.
        let mut child = spawn_listening(&["run"]);
        let open = child.stdin.take();
        std::thread::sleep(std::time::Duration::from_millis(300));
        end(signal, &child);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        drop(open);
    }
}

#[test]
fn a_text_in_the_place_of_the_model_is_told_its_own() {
    let error = fails(&["run", "Once upon a time."], 1);
    assert!(
        error.contains("names the model") && error.contains("after -p"),
        "{error}"
    );
}

/// Files for other programs go to standard output by the name `-`, byte for byte what they are as
/// files.
#[test]
fn files_go_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let heldout = fixture("heldout.txt");
    for command in [
        &["logits", "-p", "Once upon a time"][..],
        &["imatrix", "-f", &heldout, "--chunk", "16", "--chunks", "2"],
    ] {
        let written = run(&[command, &["-o", file.to_str().unwrap()]].concat());
        let sent = run(&[command, &["-o", "-"]].concat());
        assert!(
            written.status.success() && sent.status.success(),
            "{}",
            text(&sent.stderr)
        );
        assert!(written.stdout.is_empty() && sent.stdout == std::fs::read(&file).unwrap());
    }
}

#[test]
fn numbers_that_mean_something_else_and_numbers_that_mean_nothing() {
    // -1 is another seed each time, and all tokens.
    succeeds(&["run", "-p", "x", "-n", "1", "--seed", "-1", "--top-k", "-1"]);
    // Other options' numbers are tried in the program's own tests.
    let message = fails(&["run", "-p", "x", "--temperature=-1"], 2);
    assert!(
        message.starts_with("error: invalid value '-1' for '--temperature <"),
        "{message}"
    );
    let message = fails(&["run", "-p", "x", "--logit-bias", "5000=1"], 2);
    assert!(message.starts_with("error: --logit-bias 5000=1: "), "{message}");
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let junk = path("junk.gguf");
    std::fs::write(&junk, b"GGUX, not a model").unwrap();
    for (arguments, words) in [
        (
            vec!["run", "/no/such/model.gguf", "-p", "x"],
            "/no/such/model.gguf",
        ),
        (vec!["inspect", &junk], "junk.gguf"),
        (
            vec!["run", folder.path().to_str().unwrap(), "-p", "x"],
            "give the file: bise run",
        ),
        (
            vec!["run", &fixture("tiny-mixtral"), "-p", "x", "--ctx", "4000000000"],
            "keys and values of 4000000000 tokens",
        ),
        (vec!["logits", "--tokens", "1,5000", "-o", &path("out")], "5000"),
        (vec!["perplexity", "-f", "/no/such/text"], "/no/such/text"),
        (
            vec!["quantize", "/no/such/model", &path("out"), "--type", "Q8_0"],
            "/no/such/model",
        ),
    ] {
        let message = fails(&arguments, 1);
        assert!(
            message.starts_with("error: ") && message.contains(words),
            "{arguments:?}: {message}"
        );
    }
    for arguments in [
        vec!["run", "-p", "x", "--isa", "z80"],
        vec!["run", "-p", "x", "--kv-type", "f17"],
        vec!["run", "-p", "x", "--sliding-window", "0"],
        vec!["quantize", "a", "b", "--type", "Q8_0", "--sliding-window", "on"],
        vec!["quantize", "a", "b", "--type", "Q9"],
        vec!["logits", "-o", "x"],
        vec!["frobnicate"],
    ] {
        fails(&arguments, 2);
    }
    let message = fails(&["quantize", "a", "b", "--type", "IQ2_XS"], 2);
    assert!(
        message.contains("IQ2_XS is a type that is only read"),
        "{message}"
    );
    assert!(!Path::new(&path("out")).exists());
}

#[test]
fn logits_are_written_with_their_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let out: PathBuf = folder.path().join("logits.safetensors");
    let file = folder.path().join("tokens.txt");
    std::fs::write(&file, "1, 468\n502 261").unwrap();
    let (out_name, file_name) = (out.to_str().unwrap(), file.to_str().unwrap());
    let mut results = Vec::new();
    for input in [
        ["--tokens", "1,468,502,261"],
        ["--tokens-file", file_name],
        ["-p", "Once upon a"],
    ] {
        succeeds(&["logits", input[0], input[1], "-o", out_name]);
        results.push(std::fs::read(&out).unwrap());
    }
    assert!(results[0] == results[1] && results[0] == results[2]);
    let tensors = safetensors::SafeTensors::deserialize(&results[0]).unwrap();
    let (tokens, logits) = (
        tensors.tensor("tokens").unwrap(),
        tensors.tensor("logits").unwrap(),
    );
    assert_eq!(
        (tokens.dtype(), tokens.shape()),
        (safetensors::Dtype::I32, &[4][..])
    );
    assert_eq!(
        (logits.dtype(), logits.shape()),
        (safetensors::Dtype::F32, &[4, 1024][..])
    );
    assert_eq!(tokens.data()[4..8], 468i32.to_le_bytes());
}

fn floats(file: &[u8], name: &str) -> Vec<f32> {
    let tensors = safetensors::SafeTensors::deserialize(file).unwrap();
    let data = tensors.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
    data.into_iter().map(f32::from_le_bytes).collect()
}

/// From a checkpoint to logits with the program alone, against transformers.
#[test]
fn logits_of_a_checkpoint_equal_those_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, ids, out) = (path("model.gguf"), path("ids"), path("logits.safetensors"));
    for name in [
        "tiny-mistral",
        "tiny-mixtral",
        "random/mistral-window-7",
        "random/mixtral-4-top-3",
    ] {
        let golden = std::fs::read(fixture(&format!("goldens/{name}.safetensors"))).unwrap();
        let tokens = floats(&golden, "tokens")
            .into_iter()
            .map(|t| t.to_bits().to_string());
        std::fs::write(&ids, tokens.collect::<Vec<_>>().join(",")).unwrap();
        succeeds(&["quantize", &fixture(name), &model, "--type", "F32"]);
        succeeds(&[
            "logits",
            &model,
            "--tokens-file",
            &ids,
            "-o",
            &out,
            "--kv-type",
            "f32",
        ]);
        let (found, expected) = (
            floats(&std::fs::read(&out).unwrap(), "logits"),
            floats(&golden, "logits"),
        );
        let largest = expected.iter().fold(0f32, |m, l| m.max(l.abs()));
        let error = found
            .iter()
            .zip(&expected)
            .map(|(f, e)| (f - e).abs())
            .fold(0f32, f32::max);
        assert!(
            found.len() == expected.len() && error <= 1e-4 * largest,
            "{name}: off by {error} of {largest}"
        );
    }
}

#[test]
fn tokens_pieces_and_facts_as_json() {
    let json: serde_json::Value =
        serde_json::from_str(&succeeds(&["tokenize", "Once upon </s>", "--json"])).unwrap();
    assert_eq!(json["ids"][0], 1);
    assert_eq!(json["pieces"][1], "\u{2581}Once");
    assert!(
        json["ids"].as_array().unwrap().iter().all(|id| id != 2),
        "text is never a control token"
    );
    let facts: serde_json::Value = serde_json::from_str(&succeeds(&["inspect", "--json"])).unwrap();
    assert_eq!(facts["model"]["sliding_window"], 64);
    assert_eq!(facts["tensors"].as_array().unwrap().len(), 39);
    assert!(succeeds(&["inspect"]).contains("sliding window 64"));
}

#[test]
fn a_conversation_as_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.json");
    let chat = file.to_str().unwrap();
    let write = |json: &str| std::fs::write(&file, json).unwrap();
    write(
        r#"{"messages": [{"role": "system", "content": "Hi"}, {"role": "user", "content": "A story </s>"}]}"#,
    );
    let json = succeeds(&["tokenize", "--chat", chat, "--template", "v1", "--json"]);
    // What the built-in model is given when nothing is asked for.
    assert_eq!(succeeds(&["tokenize", "--chat", chat, "--json"]), json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let ids: Vec<u64> = serde_json::from_value(json["ids"].clone()).unwrap();
    assert!(ids[0] == 1 && !ids[1..].contains(&1) && !ids.contains(&2));
    let pieces: Vec<String> = serde_json::from_value(json["pieces"].clone()).unwrap();
    let text = pieces[1..].concat().replace('\u{2581}', " ");
    assert!(text.starts_with(" ") && text.contains("story"), "{text}");

    let error = fails(&["tokenize", &fixture("demo.gguf"), "--chat", chat], 1);
    assert!(
        error.contains("demo.gguf: the file does not tell") && error.contains("--template"),
        "{error}"
    );
    assert!(
        fails(&["tokenize", "--chat", chat, "--template", "v3"], 1)
            .contains("no control token \"[INST]\"")
    );
    assert!(
        fails(&["tokenize", "--chat", chat, "--template", "v0"], 1)
            .contains("`v0` is neither a chat format")
    );
    write(r#"[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi."}]"#);
    assert!(
        fails(&["tokenize", "--chat", chat, "--template", "v1"], 1)
            .contains("message 2 (assistant)")
    );
    write(r#"[{"role": "nobody"}]"#);
    let error = fails(&["tokenize", "--chat", chat, "--template", "v1"], 1);
    assert!(error.contains("chat.json") && error.contains("nobody"), "{error}");
    fails(&["tokenize", "x", "--template", "v1"], 2);
    assert!(
        succeeds(&["tokenize"]).ends_with("<s>\n"),
        "standard input is empty"
    );
}

fn perplexity(model: &str) -> f64 {
    let json = succeeds(&[
        "perplexity",
        model,
        "-f",
        &fixture("heldout.txt"),
        "--chunk",
        "256",
        "--json",
    ]);
    serde_json::from_str::<serde_json::Value>(&json).unwrap()["perplexity"]
        .as_f64()
        .unwrap()
}

/// F32 predicts the held-out text as transformers does, and good quantization hardly worse.
#[test]
fn perplexity_of_the_held_out_text() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tiny-mistral", "tiny-mixtral"] {
        let golden = std::fs::read(fixture(&format!("goldens/{name}.perplexity.json"))).unwrap();
        let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
        let expected = golden["perplexity"].as_f64().unwrap();
        for (kind, within) in [("F32", 1e-4), ("F16", 5e-3), ("Q8_0", 5e-3)] {
            let file = folder.path().join(format!("{name}-{kind}.gguf"));
            let file = file.to_str().unwrap();
            succeeds(&["quantize", &fixture(name), file, "--type", kind]);
            let found = perplexity(file);
            assert!(
                (found / expected - 1.0).abs() <= within,
                "{name} {kind}: {found} against {expected}"
            );
        }
    }
}

/// The built-in model is what the quantizer makes of the fixture, byte for byte.
#[test]
fn the_built_in_model_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo.gguf");
    succeeds(&[
        "quantize",
        &fixture("tiny-mistral"),
        out.to_str().unwrap(),
        "--type",
        "Q4_K_M",
    ]);
    assert!(std::fs::read(&out).unwrap() == std::fs::read(fixture("demo.gguf")).unwrap());
}

#[test]
fn a_bench_names_its_tests_and_limits() {
    let arguments = [
        "bench", "-p", "3,8", "-n", "2", "-d", "0,4", "-r", "2", "-t", "1,2", "--json",
    ];
    let results: serde_json::Value = serde_json::from_str(&succeeds(&arguments)).unwrap();
    let names: Vec<_> = results
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["test"].as_str().unwrap())
        .collect();
    assert_eq!(names[..6], ["pp3", "pp8", "tg2", "pp3@d4", "pp8@d4", "tg2@d4"]);
    assert_eq!(names.len(), 12);
    for result in results.as_array().unwrap() {
        assert_eq!(result["samples"].as_array().unwrap().len(), 2);
        assert!(result["tokens_per_second"].as_f64().unwrap() > 0.0);
        assert!(result["integer_peak"].as_f64().unwrap() > 0.0);
    }
    assert!(fails(&["bench", "--synthetic", "gemma:Q4_0"], 1).contains("gemma:Q4_0"));
}

#[test]
fn a_bench_is_a_table_to_read_and_one_for_programs() {
    let tests = ["bench", "-p", "8", "-n", "2", "-r", "1", "-t", "1"];
    let table = succeeds(&tests);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    // Every row's columns begin where those of the heading do.
    let bars = |line: &str| -> Vec<usize> { line.match_indices('|').map(|(at, _)| at).collect() };
    for line in &lines {
        assert_eq!(bars(line), bars(lines[0]), "{table}");
    }
    assert!(lines[2].contains(" GiB |") && lines[2].contains("pp8"), "{table}");

    let csv = succeeds(&[&tests[..], &["-o", "csv"]].concat());
    let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let value = |row: &[&str], name| row[names.iter().position(|n| *n == name).unwrap()].to_owned();
    let (prompt, generation) = (rows.next().unwrap(), rows.next().unwrap());
    assert_eq!(value(&prompt, "test"), "pp8");
    assert!(value(&prompt, "operations_per_second").parse::<f64>().unwrap() > 0.0);
    assert!(value(&generation, "bytes_per_second").parse::<f64>().unwrap() > 0.0);
    assert!(value(&generation, "parameters").parse::<u64>().unwrap() > 0);
    assert!(rows.next().is_none());

    let json = succeeds(&[&tests[..], &["-o", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["test"], "tg2");
    fails(&[&tests[..], &["-o", "csv", "--json"]].concat(), 2);
}

#[test]
fn a_synthetic_model_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let file = file.to_str().unwrap();
    let spec = ["--synthetic", "mistral-7b:Q2_K", "--layers", "1"];
    assert_eq!(succeeds(&[&["bench", "--write", file][..], &spec].concat()), "");
    assert!(succeeds(&["inspect", file]).contains("blk.0.attn_q.weight"));
    // Byte 0x78 follows three control tokens.
    assert!(succeeds(&["tokenize", file, "x", "--json"]).contains("123"));
    fails(&["bench", "--write", file], 2);
}

#[test]
fn help_reads_well() {
    let help = succeeds(&["--help"]);
    for command in [
        "run",
        "quantize",
        "inspect",
        "tokenize",
        "logits",
        "perplexity",
        "bench",
    ] {
        assert!(help.contains(command));
        let help = succeeds(&[command, "--help"]);
        assert!(help.contains("Usage: bise"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
}

/// A directory is run, measured and inspected as it is, and gives what its F32 file gives.
#[test]
fn directories_without_a_file_between() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let file = file.to_str().unwrap();
    for name in ["tiny-mistral", "tiny-mixtral"] {
        let directory = fixture(name);
        succeeds(&["quantize", &directory, file, "--type", "F32"]);
        let story =
            |model: &str| succeeds(&["run", model, "-p", "Once upon", "--temp", "0", "-n", "40"]);
        assert_eq!(story(&directory), story(file));
        assert_eq!(
            succeeds(&["tokenize", &directory, "Once upon a time"]),
            succeeds(&["tokenize", file, "Once upon a time"])
        );
        let facts = succeeds(&["inspect", &directory]);
        assert!(facts.contains("safetensors, Hugging Face layout"), "{facts}");
        assert!(facts.contains("BF16"), "{facts}");
    }
    let bench = succeeds(&[
        "bench",
        &fixture("tiny-mixtral"),
        "-p",
        "8",
        "-n",
        "2",
        "-r",
        "1",
        "--json",
    ]);
    assert!(bench.contains("pp8"));
}

/// A window on the command line counts more than that of the file, and what the quantizer writes
/// counts as the file's.
#[test]
fn windows_can_be_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let heldout = fixture("heldout.txt");
    let measure = |model: &str, more: &[&str]| {
        let arguments = ["perplexity", model, "-f", &heldout, "--chunk", "512"];
        succeeds(&[&arguments[..], more].concat())
    };
    let model = fixture("tiny-mistral");
    let usual = measure(&model, &[]);
    assert_eq!(measure(&model, &["--sliding-window", "64"]), usual);
    for window in ["off", "16"] {
        let file = path(window);
        let written = [
            "quantize",
            &model,
            &file,
            "--type",
            "F32",
            "--sliding-window",
            window,
        ];
        succeeds(&written);
        let found = measure(&model, &["--sliding-window", window]);
        assert_ne!(found, usual);
        assert_eq!(measure(&file, &[]), found);
    }
    assert!(succeeds(&["inspect", &path("off")]).contains("no sliding window"));
    assert!(succeeds(&["inspect", &path("16")]).contains("sliding window 16"));
}

#[test]
fn what_inspect_tells() {
    let facts = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&succeeds(&[&["inspect", "--json"], arguments].concat())).unwrap()
    };
    let mixtral = fixture("tiny-mixtral");
    let one = facts(&[&mixtral, "--ctx", "1000"]);
    assert_eq!(one["family"], "Mixtral: 8 experts, 2 for each token");
    assert_eq!(one["types"]["BF16"]["bytes"], one["bytes"]);
    assert_eq!(one["memory"]["context"], 1000);
    // 2 layers, 2 heads, 16 chunks of 64 positions, keys and values of 32 values of 2 bytes.
    assert_eq!(one["memory"]["kv"], 2 * 2 * 16 * 64 * 2 * 32 * 2);
    assert!(
        facts(&[&mixtral, "--ctx", "1000", "--kv-type", "f32"])["memory"]["kv"]
            == 2 * 2 * 16 * 64 * 2 * 32 * 4
    );
    let print = |facts: &serde_json::Value| facts["fingerprint"].as_str().unwrap().to_owned();
    let all = facts(&[&mixtral, "--hash"]);
    assert_eq!(print(&all).len(), 64);
    assert_ne!(print(&all), print(&one));
    assert_ne!(print(&facts(&[])), print(&one));
}

/// The layout of older programs, and a model in several files, through every command.
#[test]
fn every_command_reads_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let whole = common::file("tiny-mixtral", "Q8_0");
    let (stacked, old, out, again) = (
        path("stacked.gguf"),
        path("old.gguf"),
        path("out"),
        path("again.gguf"),
    );
    std::fs::write(&stacked, &whole).unwrap();
    std::fs::write(&old, common::per_expert(&whole)).unwrap();
    let parts = common::split(&whole, folder.path(), 3, false);
    let part = parts[1].to_str().unwrap().to_owned();
    let text = path("text");
    std::fs::write(&text, &std::fs::read(fixture("heldout.txt")).unwrap()[..2000]).unwrap();
    let results = [&stacked, &old, &part].map(|model| {
        let story = succeeds(&["run", model, "-p", "Once upon", "--temp", "0", "-n", "20"]);
        succeeds(&["logits", model, "-p", "Once upon a time", "-o", &out]);
        let logits = std::fs::read(&out).unwrap();
        let perplexity = succeeds(&["perplexity", model, "-f", &text]);
        let tokens = succeeds(&["tokenize", model, "Once upon a time"]);
        succeeds(&["bench", model, "-p", "4", "-n", "0", "-r", "1"]);
        let requantize = ["quantize", model, &again, "--type", "Q4_0"];
        let refused = fails(&requantize, 1);
        assert!(refused.contains("--allow-requantize"), "{refused}");
        succeeds(&[&requantize[..], &["--allow-requantize"]].concat());
        let requantized = succeeds(&["run", &again, "-p", "Once upon", "--temp", "0", "-n", "20"]);
        let facts: serde_json::Value =
            serde_json::from_str(&succeeds(&["inspect", model, "--json"])).unwrap();
        let size = (facts["weights"].clone(), facts["bytes"].clone());
        (story, logits, perplexity, tokens, requantized, size)
    });
    assert!(results[0] == results[1], "experts in tensors of their own");
    assert!(results[0] == results[2], "one of three files");
    assert!(succeeds(&["inspect", &part]).contains("3 files"));
    for part in &parts {
        let (first, part) = (parts[0].to_str().unwrap(), part.to_str().unwrap());
        let error = fails(&["quantize", first, part, "--type", "Q4_0"], 1);
        assert!(error.contains("it is the same file as"), "{error}");
    }
    std::fs::remove_file(&parts[2]).unwrap();
    let error = fails(&["run", &part, "-p", "x"], 1);
    assert!(
        error.contains("model-00003-of-00003.gguf: part 3 of 3 is missing"),
        "{error}"
    );
}

/// Two runs with a session say what one run of both lengths says; the second file is refused when
/// it is damaged.
#[test]
fn a_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session");
    let session = session.to_str().unwrap();
    let story = |more: &[&str]| {
        let mut arguments = vec!["run", "--temp", "1", "--seed", "7", "--ignore-eos"];
        arguments.extend(more);
        succeeds(&arguments)
    };
    let whole = story(&["-p", "One day", "-n", "60"]);
    let first = story(&["-p", "One day", "-n", "25", "--session", session]);
    let second = story(&["-p", "", "-n", "35", "--session", session]);
    assert_eq!(format!("{}{second}", first.trim_end_matches('\n')), whole);

    let mut bytes = std::fs::read(session).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(session, bytes).unwrap();
    let error = fails(&["run", "-p", "", "--session", session], 1);
    assert!(error.contains(session) && error.contains("damaged"), "{error}");
}

#[test]
fn drafts_do_not_change_the_text() {
    let story = |more: &[&str]| {
        let mut arguments =
            vec!["run", "-p", "One day", "-n", "80", "--temp", "0.7", "--seed", "3"];
        arguments.extend(more);
        succeeds(&arguments)
    };
    let plain = story(&["--speculate", "off"]);
    assert_eq!(story(&[]), plain);
    assert_eq!(story(&["--speculate", "ngram", "--draft-max", "3"]), plain);
    assert_eq!(story(&["--draft", &fixture("demo.gguf")]), plain);
    let error = fails(
        &[
            "run",
            "-p",
            "x",
            "--speculate",
            "off",
            "--draft",
            &fixture("demo.gguf"),
        ],
        1,
    );
    assert!(error.contains("--draft is of no use"), "{error}");
}

#[test]
fn a_prompt_cache_does_not_change_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("prompts");
    let prompt =
        "Once upon a time there was a little girl who lived in a house near the forest with her dog. "
            .repeat(2);
    let arguments = ["run", "-p", &prompt, "-n", "20", "--temp", "0"];
    let plain = succeeds(&arguments);
    let mut cached = arguments.to_vec();
    cached.extend(["--prompt-cache", cache.to_str().unwrap()]);
    assert_eq!(succeeds(&cached), plain);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    assert_eq!(succeeds(&cached), plain);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            succeeds(&["completions", shell]).contains("prompt-cache"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    succeeds(&["man", pages.to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("bise.1").contains("Run and quantize"));
    assert!(page("bise-run.1").contains("prompt\\-cache"));
    assert!(page("bise-quantize.1").starts_with(".ie"));
}

/// The model and the text by position, by option, by the environment, from files and from standard
/// input.
#[test]
fn models_and_texts_come_in_many_ways() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    std::fs::write(&file, "Once upon").unwrap();
    let (file, demo, other) = (
        file.to_str().unwrap(),
        fixture("demo.gguf"),
        fixture("tiny-mistral"),
    );
    let fed = |arguments: &[&str], model: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
        command.args(arguments).stdin(std::fs::File::open(file).unwrap());
        model.map(|model| command.env("BISE_MODEL", model));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    fn greedy<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [&["run", "-n", "5", "--temp", "0"], arguments].concat()
    }
    let expected = fed(&greedy(&["-p", "Once upon"]), None);
    for arguments in [
        &[&demo, "Once upon"][..],
        &["-m", &demo, "Once upon"],
        &["--model", &demo, "--prompt", "Once upon"],
        &[&demo, "-f", "-"],
        &["--file", file],
        &[],
    ] {
        assert_eq!(fed(&greedy(arguments), None), expected, "{arguments:?}");
    }
    assert_eq!(
        fed(
            &["run", "Once upon", "-m", &demo, "--n-predict", "5", "--temp", "0"],
            None
        ),
        expected
    );
    assert_ne!(fed(&greedy(&[]), Some(&other)), expected);
    assert_eq!(fed(&greedy(&["-m", &demo]), Some(&other)), expected);
    fails(&["run", &demo, "one", "-p", "two"], 2);
    fails(&["run", "-m", &demo, "one", "two"], 2);

    let expected = fed(&["tokenize", &other, "Once upon"], None);
    for arguments in [
        &["tokenize", &other][..],
        &["tokenize", "-m", &other, "Once upon"],
        &["tokenize", "-m", &other, "-f", file],
        &["tokenize", &other, "--file", "-"],
    ] {
        assert_eq!(fed(arguments, None), expected, "{arguments:?}");
    }
    assert_eq!(fed(&["tokenize", "Once upon"], Some(&other)), expected);
    fails(&["tokenize", &other, "x", "-f", file], 2);
}

#[test]
fn schemas_and_grammars_may_stand_on_the_command_line() {
    let schema = r#"{"type": "string", "maxLength": 3}"#;
    let answer = succeeds(&["run", "-p", "x", "--no-echo", "-n", "30", "--json-schema", schema]);
    assert!(serde_json::from_str::<String>(&answer).is_ok(), "{answer}");
    for grammar in ["root ::= \"yes\" | \"no\"", "start: \"yes\" | \"no\""] {
        let answer = succeeds(&["run", "-p", "x", "--no-echo", "-n", "30", "--grammar", grammar]);
        assert!(["yes", "no"].contains(&answer.trim()), "{answer}");
    }
    assert!(fails(&["run", "-p", "x", "--grammar", "no/such/file"], 1).contains("no/such/file"));
}

#[test]
fn types_are_listed_with_their_sizes() {
    let help = succeeds(&["quantize", "--help"]);
    let listed: Vec<&str> = help
        .lines()
        .map(str::trim)
        .filter(|line| {
            line.starts_with("- ") && line.ends_with(" bits for each weight of Mistral 7B")
        })
        .collect();
    let bits = |line: &&str| -> f64 { line.split_whitespace().nth(2).unwrap().parse().unwrap() };
    assert!(
        listed.len() > 15 && listed.is_sorted_by(|a, b| bits(a) >= bits(b)),
        "{help}"
    );
    // Those of --output-type and --embedding-type are lists of their own.
    assert_eq!(help.matches("- Q8_0:").count(), 3);
    assert!(
        listed[0].starts_with("- F32:") && listed.iter().any(|line| line.starts_with("- Q4_K_M:"))
    );
    assert!(succeeds(&["completions", "bash"]).contains("Q4_K_M"));
    let version = succeeds(&["--version"]);
    assert!(
        version.contains("\ncommit ") && version.contains("\nlevels scalar"),
        "{version}"
    );
}
