//! `bise run --input-jsonl`: many prompts in one process.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn bise(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
    command.arg("run").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    bise(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Standard error of a run that fails with `code`.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    errors
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The results of `rows` with these arguments.
fn results(rows: &[Value], arguments: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let arguments = [arguments, &["--input-jsonl", input.to_str().unwrap()]].concat();
    let output = run(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let lines = output.stdout.split_inclusive(|&b| b == b'\n');
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn fixture(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    fixtures.join(name).to_str().unwrap().to_owned()
}

/// The same texts as with a process for each, byte for byte.
#[test]
fn each_text_is_that_of_a_run_alone() {
    for model in ["tiny-mistral", "tiny-mixtral"] {
        let model = fixture(model);
        let prompts = ["Once upon a time", "The dog", "Lily said: \"", "One day"];
        let kinds = [("0", "40"), ("0.9", "50"), ("1.5", "200")];
        let all = prompts
            .iter()
            .flat_map(|prompt| kinds.map(|(temp, n)| (prompt, temp, n)));
        let all: Vec<_> = all.enumerate().collect();
        let rows: Vec<Value> = all
            .iter()
            .map(|(seed, (prompt, temp, n))| {
                let n: i64 = n.parse().unwrap();
                json!({"prompt": prompt, "seed": seed, "temperature": temp, "max_tokens": n})
            })
            .collect();
        let common = [&model, "--stop", "fox", "-c", "300"];
        let made = results(&rows, &[&common[..], &["--sequences", "5"]].concat());
        for ((seed, (prompt, temp, n)), made) in all.iter().zip(&made) {
            let seed = seed.to_string();
            let own = ["-p", prompt, "--seed", &seed, "--temp", temp, "-n", n, "--json"];
            let alone = json(&[&common[..], &own].concat());
            for key in ["text", "stop_reason", "seed"] {
                assert_eq!(made[key], alone[key], "{prompt} {temp}");
            }
            let tokens = alone["tokens"].as_array().unwrap().len();
            assert_eq!(made["tokens"], tokens, "{prompt} {temp}");
        }
    }
}

/// What all lines share: a system's message, a constraint, whether a text goes on after its end.
#[test]
fn options_count_for_all_lines() {
    let rows = ["Hello", "Who are you?"].map(|prompt| json!({"prompt": prompt}));
    let alone = |row: &Value, more: &[&str]| {
        let prompt = row["prompt"].as_str().unwrap();
        json(&[&["-p", prompt, "--json"], more].concat())
    };
    let story = ["--seed", "4", "-n", "30"];
    let chat = [&story[..], &["--chat", "--system", "Be kind."]].concat();
    let json_mode = [&story[..], &["--regex", "[a-z]{3,9}[.]"]].concat();
    let on = [&story[..], &["--ignore-eos", "--temp", "0"]].concat();
    for common in [&chat, &json_mode, &on] {
        for (row, made) in rows.iter().zip(results(&rows, common)) {
            let alone = alone(row, common);
            assert_eq!(made["text"], alone["text"], "{common:?}");
            assert_eq!(made["stop_reason"], alone["stop_reason"], "{common:?}");
        }
    }
    assert!(fails(&["--input-jsonl", "-", "--regex", "(", "-n", "3"], 1).contains("--regex"));
}

#[test]
fn options_of_one_text_are_refused() {
    for option in [
        &["--draft", "x.gguf"][..],
        &["--speculate", "off"],
        &["--draft-max", "3"],
        &["--suffix", "x"],
        &["--session", "x"],
        &["--context-shift"],
        &["-p", "x"],
    ] {
        let arguments = [&["--input-jsonl", "-"], option].concat();
        assert!(fails(&arguments, 2).contains(option[0]), "{option:?}");
    }
    let many = ["--sequences", "3"];
    assert!(fails(&[&["-p", "x"], &many[..]].concat(), 2).contains("--input-jsonl"));
    let unused = ["--input-jsonl", "-", "--samplers", "top-k", "--top-p", "0.5"];
    assert!(fails(&unused, 2).contains("top-p"));
}

/// Who writes a line and waits for its result gets it, before there is another line.
#[test]
fn lines_are_answered_as_they_come() {
    let mut child = bise(&["--input-jsonl", "-", "--stats"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for index in 0..3 {
        writeln!(input, "{}", json!({"prompt": "Once", "max_tokens": 3})).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let row: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&row["index"], &row["tokens"]), (&index.into(), &3.into()));
    }
    drop(input);
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && told.contains("3 texts in"), "{told}");
}

/// Ctrl-C leaves whole lines, and the next run goes on after them.
#[cfg(target_os = "linux")]
#[test]
fn what_was_interrupted_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (input, output) = (path("in"), path("out"));
    let row = |seed: u64, n: u64| json!({"prompt": "Once", "max_tokens": n, "seed": seed});
    // The first ones end soon, the others hardly ever.
    let rows = |long: u64| -> String {
        let lines = (0..20).map(|i| row(i, if i < 3 { 4 } else { long }).to_string() + "\n");
        lines.collect()
    };
    std::fs::write(&input, rows(1_000_000)).unwrap();
    let arguments = ["--ignore-eos", "--input-jsonl", &input, "--output-jsonl", &output];
    // Whoever started the tests may ignore the signal.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_bise"), "run"]);
    let mut child = command.args(arguments).spawn().unwrap();
    let lines = || {
        std::fs::read_to_string(&output)
            .unwrap_or_default()
            .lines()
            .count()
    };
    while lines() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let before = std::fs::read_to_string(&output).unwrap();
    assert_eq!((before.lines().count(), before.ends_with('\n')), (3, true));
    std::fs::write(&input, rows(5)).unwrap();
    assert!(run(&arguments).status.success());
    let after = std::fs::read_to_string(&output).unwrap();
    assert!(after.starts_with(&before));
    assert_eq!(after.lines().count(), 20);
}

/// Many prompts in one process: each result depends on its line alone, bad lines have an error, and
/// what is there is not made again.
#[test]
fn many_prompts_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (input, output) = (path("in"), path("out"));
    let lines = [
        r#"{"id": "a", "prompt": "Once upon", "max_tokens": 5, "seed": 1}"#,
        r#"{"prompt": "Once upon", "temperature": "nan"}"#,
        "not JSON",
        "",
        r#"{"id": 7, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "stop": ["!"]}"#,
        r#"{"prompt": "One day", "max_tokens": 6, "temp": 0, "nonsense": 1}"#,
        r#"{"prompt": "One day", "max_tokens": 6, "temp": 0}"#,
    ];
    let run = |input: &str, output: &str| {
        let arguments = [
            "run",
            "--seed",
            "3",
            "--input-jsonl",
            input,
            "--output-jsonl",
            output,
        ];
        let made = Command::new(env!("CARGO_BIN_EXE_bise"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::read_to_string(output).unwrap()
    };
    std::fs::write(&input, lines.join("\n")).unwrap();
    let all = run(&input, &output);
    let rows: Vec<serde_json::Value> =
        all.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), 6);
    assert_eq!(
        (&rows[0]["index"], &rows[0]["id"], &rows[0]["tokens"]),
        (&0.into(), &"a".into(), &5.into())
    );
    assert_eq!(rows[0]["stop_reason"], "length");
    for (row, words) in [(1, "temperature is"), (2, "not JSON"), (4, "option nonsense")] {
        assert!(
            rows[row]["error"].as_str().unwrap().contains(words),
            "{}",
            rows[row]
        );
    }
    assert_eq!((&rows[3]["index"], &rows[3]["id"]), (&4.into(), &7.into()));
    let alone = json(&["-p", "One day", "-n", "6", "--temp", "0", "--json"]);
    assert_eq!(rows[5]["text"], alone["text"]);

    // In another order, and alone, the results are the same.
    let reversed: Vec<&str> = lines.iter().rev().copied().collect();
    let other = path("reversed");
    std::fs::write(&other, reversed.join("\n")).unwrap();
    let reversed = run(&other, &path("out-reversed"));
    let texts = |rows: &str| -> Vec<String> {
        let rows = rows
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        let mut texts: Vec<String> = rows.map(|r| format!("{}{}", r["text"], r["error"])).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(&reversed), texts(&all));

    // Half a line at the end is made again, whole ones are not.
    let cut = all.len() - 10;
    std::fs::write(&output, &all[..cut]).unwrap();
    assert_eq!(run(&input, &output), all);
    let marked = all.replace("Once", "ONCE").replace("length", "kept");
    std::fs::write(&output, &marked).unwrap();
    assert_eq!(run(&input, &output), marked);

    // No other file is touched.
    for (output, words) in [(&input, "in"), (&other, "reversed")] {
        let before = std::fs::read(output).unwrap();
        let arguments = ["--input-jsonl", &input, "--output-jsonl", output];
        assert!(fails(&arguments, 1).contains(words));
        assert_eq!(std::fs::read(output).unwrap(), before);
    }
}
