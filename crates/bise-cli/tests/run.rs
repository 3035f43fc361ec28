//! What `bise run` prints, and where it stops.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
    command.arg("run").args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

/// Standard output of a run that succeeds.
fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a run that fails with `code`.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    errors
}

/// Standard output of a run whose text a limit cut off before its constraint let it end.
fn cut_off(arguments: &[&str]) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{arguments:?}: {errors}");
    assert!(errors.contains("cut off"), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeeds(arguments)).unwrap()
}

const STORY: [&str; 6] = ["-p", "Once upon a time", "--temp", "0", "-n", "40"];

fn story(more: &[&str]) -> Vec<String> {
    STORY.iter().chain(more).map(|&s| s.to_owned()).collect()
}

fn tell(more: &[&str]) -> String {
    let arguments = story(more);
    succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_prompt_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "prompt", "Once upon a time");
    let found = succeeds(&["-f", path.to_str().unwrap(), "--temp", "0", "-n", "40"]);
    assert_eq!(found, tell(&[]));
    assert!(fails(&["-f", "/no/such/file"], 1).contains("/no/such/file"));
    fails(&["-f", "x", "-p", "y"], 2);
    // -1 is as good as no number.
    assert_eq!(
        succeeds(&["-p", "Once", "--temp", "0", "-n", "-1"]),
        succeeds(&["-p", "Once", "--temp", "0"])
    );
}

/// Wherever tokens are cut, the text ends before the stop text.
#[test]
fn stop_texts_end_the_text_and_are_not_shown() {
    let whole = tell(&["--no-echo"]);
    let text = whole.trim_end_matches('\n');
    for (start, len) in [(20, 1), (31, 5), (40, 12), (55, 3)] {
        let stop = &text[start..start + len];
        let expected = &text[..text.find(stop).unwrap()];
        assert_eq!(
            tell(&["--no-echo", "--stop", stop, "--stop", "no such text"]),
            format!("{expected}\n")
        );
    }
    let stop = &text[31..36];
    let arguments = story(&["--json", "--stop", stop]);
    let result = json(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(result["stop_reason"], "stop");
    assert_eq!(result["stop_text"], stop);
}

#[test]
fn json_tells_the_text_and_all_about_it() {
    let arguments = story(&["--json", "--logprobs", "3"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = json(&arguments);
    let plain = tell(&["--no-echo"]);
    assert_eq!(format!("{}\n", result["text"].as_str().unwrap()), plain);
    assert!(result.get("prompt").is_none());
    assert_eq!(result["stop_reason"], "length");
    let tokens = result["tokens"].as_array().unwrap();
    let logprobs = result["logprobs"].as_array().unwrap();
    assert_eq!((tokens.len(), logprobs.len()), (40, 40));
    for (token, logprobs) in tokens.iter().zip(logprobs) {
        let top = logprobs["top"].as_array().unwrap();
        // At temperature 0 the chosen token is the likeliest one.
        assert_eq!(top.len(), 3);
        assert!(*token == logprobs["token"] && *token == top[0]["token"]);
        assert_eq!(logprobs["logprob"], top[0]["logprob"]);
        let logprobs: Vec<f64> = top.iter().map(|t| t["logprob"].as_f64().unwrap()).collect();
        assert!(logprobs.is_sorted_by(|a, b| a >= b) && logprobs[0] <= 0.0);
        assert!(logprobs.iter().map(|l| l.exp()).sum::<f64>() <= 1.0 + 1e-9);
    }
    assert_eq!(result["timings"]["tokens"], 40);
    assert!(result["timings"]["prompt_tokens_per_second"].as_f64().unwrap() > 0.0);

    let echoed = json(&[&arguments[..], &["--echo"]].concat());
    assert_eq!(echoed["prompt"], "Once upon a time");
    for needs_json in [["--stream", "--stats"], ["--logprobs", "3"]] {
        fails(&[&STORY[..], &needs_json].concat(), 2);
    }
}

#[test]
fn json_lines_add_up_to_the_text() {
    let whole = tell(&["--no-echo"]);
    let stop = &whole[31..36];
    for more in [
        &["--json", "--stream"][..],
        &["--json", "--stream", "--stop", stop, "--logprobs", "1"],
    ] {
        let lines = tell(more);
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let text: String = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
        let expected = if more.len() > 2 {
            &whole[..whole.find(stop).unwrap()]
        } else {
            whole.trim_end_matches('\n')
        };
        assert_eq!(text, expected);
        let (last, tokens) = lines.split_last().unwrap();
        assert!(tokens.iter().all(|line| line["token"].is_u64()));
        assert!(more.len() == 2 || tokens.iter().all(|line| line["logprobs"]["logprob"].is_f64()));
        assert_eq!(last["timings"]["tokens"].as_u64().unwrap() as usize, tokens.len());
        assert_eq!(
            last["stop_reason"],
            if more.len() > 2 { "stop" } else { "length" }
        );
    }
}

#[test]
fn a_random_seed_is_told_and_repeats_the_text() {
    let first = json(&["-p", "One day", "-n", "30", "--temp", "1.5", "--json"]);
    let seed = first["seed"].as_u64().unwrap().to_string();
    let again = json(&[
        "-p", "One day", "-n", "30", "--temp", "1.5", "--json", "--seed", &seed,
    ]);
    assert_eq!(first["tokens"], again["tokens"]);
}

/// Each sampler alone, and long chains.
const SAMPLERS: [&[&str]; 13] = [
    &["--samplers", "temperature", "--temp", "1.3"],
    &["--samplers", "top-k", "--top-k", "7"],
    &["--samplers", "top-p", "--top-p", "0.7"],
    &["--samplers", "min-p", "--min-p", "0.2"],
    &["--samplers", "typical", "--typical", "0.6"],
    &[
        "--samplers",
        "xtc",
        "--xtc-probability",
        "0.7",
        "--xtc-threshold",
        "0.05",
    ],
    &[
        "--samplers",
        "dry",
        "--dry-multiplier",
        "1.5",
        "--dry-allowed-length",
        "1",
    ],
    &[
        "--samplers",
        "penalties",
        "--repeat-penalty",
        "1.4",
        "--frequency-penalty",
        "0.3",
    ],
    &[
        "--samplers",
        "",
        "--logit-bias",
        "300=+2",
        "--logit-bias",
        "400=-inf",
    ],
    &["--mirostat", "2", "--mirostat-ent", "3"],
    &["--temp", "0"],
    &[
        "--temp",
        "1.1",
        "--top-k",
        "60",
        "--top-p",
        "0.98",
        "--min-p",
        "0.01",
        "--typical",
        "0.97",
        "--xtc-probability",
        "0.4",
        "--dry-multiplier",
        "0.8",
        "--repeat-penalty",
        "1.1",
        "--presence-penalty",
        "0.2",
        "--logit-bias",
        "300=+1",
    ],
    &[
        "--samplers",
        "temperature;xtc;min-p;dry;top-p;penalties;typical;mirostat",
        "--temp",
        "1.5",
        "--xtc-probability",
        "0.2",
        "--dry-multiplier",
        "0.5",
        "--presence-penalty",
        "0.1",
        "--logit-bias",
        "400=-inf",
    ],
];

/// The same seed gives the same text at every level, with any number of threads, with and without
/// drafts.
#[test]
fn every_sampler_gives_the_same_text_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let draft = folder.path().join("draft.gguf");
    let draft = draft.to_str().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/demo.gguf");
    let made = Command::new(env!("CARGO_BIN_EXE_bise"))
        .args(["quantize", model.to_str().unwrap(), draft, "--type", "Q4_0"])
        .arg("--allow-requantize")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let ways: [&[&str]; 5] = [
        &["--isa", "scalar", "-t", "1", "--speculate", "auto"],
        &["-t", "1", "--speculate", "always"],
        &["-t", "2", "--speculate", "auto", "--draft", draft],
        &[
            "-t",
            "2",
            "--speculate",
            "always",
            "--draft",
            draft,
            "--draft-max",
            "3",
        ],
        &[
            "--isa",
            "scalar",
            "-t",
            "2",
            "--speculate",
            "always",
            "--draft",
            draft,
            "--batch",
            "2",
        ],
    ];
    let (mut texts, mut right) = (Vec::new(), 0);
    for sampler in SAMPLERS {
        let text = |more: &[&str]| {
            let start = [
                "-p",
                "One day, one day, one day",
                "-n",
                "32",
                "--seed",
                "7",
                "--stats",
            ];
            let output = run(&[&start[..], sampler, more].concat());
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{sampler:?} {more:?}: {told}");
            (String::from_utf8(output.stdout).unwrap(), told)
        };
        let (expected, told) = text(&["-t", "2", "--speculate", "off"]);
        assert!(!told.contains("guessed"), "{told}");
        for way in ways {
            let (found, told) = text(way);
            assert_eq!(found, expected, "{sampler:?} {way:?}");
            assert!(
                !way.contains(&"always") || told.contains("guessed"),
                "{way:?}: {told}"
            );
            right += usize::from(told.contains("guessed") && !told.contains(", 0 right"));
        }
        texts.push(expected);
    }
    assert!(right > 20, "drafts were right in {right} texts only");
    texts.sort();
    texts.dedup();
    assert!(
        texts.len() > 10,
        "samplers make a difference: {} texts",
        texts.len()
    );
}

#[test]
fn sampling_options_that_make_no_sense_are_refused() {
    for (arguments, code, words) in [
        (
            &["--samplers", "top-k;tops"][..],
            2,
            "penalties;dry;top-k;typical;top-p;min-p;xtc;temperature;mirostat",
        ),
        (&["--samplers", "top-k;top-k"], 2, "twice"),
        (
            &["--samplers", "top-k", "--min-p", "0.1"],
            2,
            "min-p is not among the samplers",
        ),
        (&["--mirostat-lr", "0.5"], 2, "mirostat is not among"),
        (&["--mirostat", "1"], 2, "[possible values: 2]"),
        (&["--mirostat", "2", "--top-k", "3"], 2, "cannot be used with"),
        (&["--repeat-last-n", "-2"], 2, "-1 for all"),
        (&["--xtc-probability", "1.5"], 2, "from 0 to 1"),
        (&["--logit-bias", "12"], 2, "TOKEN=X"),
        (&["--logit-bias", "99999=1"], 2, "no token 99999"),
        (&["--logit-bias", "12=inf"], 2, "no number"),
        (&["--logit-bias", "no token has this text=1"], 2, "bise tokenize"),
    ] {
        let message = fails(&[&["-p", "x", "-n", "1"], arguments].concat(), code);
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
}

#[test]
fn biased_tokens_come_or_do_not() {
    let without = json(&["-p", "Once upon a", "-n", "1", "--temp", "0", "--json"]);
    let (id, text) = (
        without["tokens"][0].to_string(),
        without["text"].as_str().unwrap(),
    );
    for token in [&*id, text] {
        let forbidden = json(&[
            "-p",
            "Once upon a",
            "-n",
            "1",
            "--temp",
            "0",
            "--json",
            "--logit-bias",
            &format!("{token}=-inf"),
        ]);
        assert_ne!(forbidden["tokens"], without["tokens"]);
    }
    let forced = json(&[
        "-p",
        "Once upon a",
        "-n",
        "9",
        "--json",
        "--logit-bias",
        &format!("{id}=+1000"),
    ]);
    assert!(
        forced["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t.as_u64() == id.parse().ok())
    );
}

#[test]
fn constrained_text_follows_its_grammar() {
    let folder = tempfile::tempdir().unwrap();
    let schema = file(
        folder.path(),
        "schema.json",
        r#"{"type": "object", "properties": {"age": {"type": "integer", "minimum": 3, "maximum": 9}}, "required": ["age"], "additionalProperties": false, "x-guidance": {"whitespace_flexible": false}}"#,
    );
    let gbnf = file(folder.path(), "a.gbnf", "root ::= \"yes\" | \"no\" [!.]{2}");
    let lark = file(folder.path(), "a.lark", "start: /[0-9]{4}/ \"-\" /[0-9]{2}/");
    for temp in ["0", "2"] {
        let text = |option: &str, value: &str| {
            let options = [
                "-p",
                "Once",
                "--no-echo",
                "--temp",
                temp,
                "-n",
                "100",
                option,
                value,
            ];
            succeeds(&options).trim_end_matches('\n').to_owned()
        };
        let value: Value =
            serde_json::from_str(&text("--json-schema", schema.to_str().unwrap())).unwrap();
        assert!((3..=9).contains(&value["age"].as_i64().unwrap()));
        assert!(
            ["yes", "no!!", "no!.", "no.!", "no.."]
                .contains(&&*text("--grammar", gbnf.to_str().unwrap()))
        );
        let date = text("--grammar", lark.to_str().unwrap());
        assert!(date.len() == 7 && date.as_bytes()[4] == b'-', "{date}");
        let answer = text("--regex", "(red|blue) (cat|dog)");
        assert!(
            ["red cat", "red dog", "blue cat", "blue dog"].contains(&&*answer),
            "{answer}"
        );
    }
    let object = cut_off(&[
        "-p",
        "Once",
        "--no-echo",
        "--json-mode",
        "-n",
        "10",
        "--seed",
        "1",
    ]);
    assert!(object.starts_with('{'));
}

#[test]
fn bad_grammars_are_refused_before_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let bad = file(folder.path(), "bad.gbnf", "root ::= word");
    let bad = bad.to_str().unwrap();
    let message = fails(&["-p", "x", "--grammar", bad], 1);
    assert!(
        message.contains(bad) && message.contains("line 1, column 10"),
        "{message}"
    );
    assert!(fails(&["-p", "x", "--regex", "a(b"], 1).contains("unclosed group"));
    assert!(fails(&["-p", "x", "--json-schema", "/no/such/file"], 1).contains("/no/such/file"));
    for conflict in [
        &["--json-mode", "--regex", "a"][..],
        &["--regex", "a", "--ignore-eos"],
    ] {
        fails(&[&["-p", "x"], conflict].concat(), 2);
    }
}

/// The built-in model is made for no chat; any format can be named.
#[test]
fn a_chat_of_one_message() {
    assert!(fails(&["-p", "Hi", "--chat", "-n", "1", "--template", "v99"], 1).contains("v99"));
    let of = |more: &[&str]| {
        json(&[&["-p", "Hi", "--json", "--temp", "0", "-n", "5"][..], more].concat())
    };
    let plain = of(&[]);
    let chat = of(&["--chat", "--template", "v1"]);
    let system = of(&["--chat", "--template", "v1", "--system", "Be brief."]);
    let prompt = |result: &Value| result["timings"]["prompt_tokens"].as_u64().unwrap();
    assert!(prompt(&plain) < prompt(&chat) && prompt(&chat) < prompt(&system));
    // An answer is printed without the message.
    assert!(
        !succeeds(&["-p", "Hi", "--chat", "--template", "v1", "-n", "3", "--temp", "0"])
            .starts_with("Hi")
    );
    assert!(
        succeeds(&[
            "-p",
            "Hi",
            "--chat",
            "--template",
            "v1",
            "-n",
            "3",
            "--temp",
            "0",
            "--echo"
        ])
        .starts_with("Hi")
    );
    fails(&["-p", "Hi", "--system", "x"], 2);
}

#[test]
fn quiet_prints_no_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mixtral");
    let made = Command::new(env!("CARGO_BIN_EXE_bise"))
        .args([
            "quantize",
            source.to_str().unwrap(),
            model.to_str().unwrap(),
            "--type",
            "F16",
        ])
        .output()
        .unwrap();
    assert!(made.status.success());
    let arguments = [model.to_str().unwrap(), "-p", "Once", "-n", "2", "-c", "3000"];
    assert!(
        String::from_utf8(run(&arguments).stderr)
            .unwrap()
            .contains("was trained for")
    );
    assert!(run(&[&arguments[..], &["--quiet"]].concat()).stderr.is_empty());
}

/// What a run with `more` options makes of the story that `session` keeps.
fn go_on(session: &str, more: &[&str]) -> (String, String) {
    let output = run(&[&["--session", session, "--json"][..], more].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let code = if told.contains("cut off") { 3 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{more:?}: {told}");
    (result["text"].as_str().unwrap().to_owned(), told)
}

/// A session keeps seed and sampling. Options that are given again take their place, and a new seed
/// is told.
#[test]
fn resumed_sampling_is_the_old_one_but_for_what_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let [first, other] =
        ["first", "other"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let options = [
        "--seed",
        "7",
        "--temp",
        "1.4",
        "--mirostat-ent",
        "4",
        "--samplers",
        "temperature;mirostat",
    ];
    let start = [&["-p", "One day", "-n", "20"][..], &options].concat();
    let (begun, _) = go_on(&first, &start);
    let whole = json(&[&["-p", "One day", "-n", "50", "--json"][..], &options].concat());
    let resumed = |more: &[&str]| {
        std::fs::copy(&first, &other).unwrap();
        go_on(&other, &[&["-p", "", "-n", "30"][..], more].concat())
    };
    let (rest, told) = resumed(&[]);
    assert_eq!(begun + &rest, whole["text"].as_str().unwrap());
    assert_eq!(told, "");
    // Options that say the same change nothing.
    assert_eq!(resumed(&options), (rest.clone(), String::new()));
    let (reseeded, told) = resumed(&["--seed", "8"]);
    assert!(told.contains("begin anew, from seed 8 instead of 7"), "{told}");
    assert_ne!(reseeded, rest);
    assert_eq!(resumed(&["--seed", "8"]).0, reseeded);
    // The new seed is the session's from now on.
    assert_eq!(
        json(&["--session", &other, "-p", "", "-n", "1", "--json"])["seed"],
        8
    );
    let (greedy, told) = resumed(&["--temp", "0", "--samplers", "temperature"]);
    assert!(greedy != rest && told.is_empty(), "{told}");
    let output = run(&["--session", &other, "-p", "", "--top-k", "5"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("together with the settings that the session keeps"),
        "{told}"
    );
}

/// Added text is continued as it is written; what follows a text that has ended begins one.
#[test]
fn text_added_to_a_session_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session");
    let session = session.to_str().unwrap();
    let prompt = |options: &[&str]| {
        let result = json(&[&["--json", "-n", "0"], options].concat());
        result["timings"]["prompt_tokens"].as_u64().unwrap()
    };
    let parts = prompt(&["--session", session, "-p", "Once upon"]);
    let (rest, _) = go_on(session, &["-p", " a time", "--temp", "0", "-n", "40"]);
    assert_eq!(
        format!("{rest}\n"),
        tell(&["--no-echo"]),
        "as if it had come in one piece"
    );
    let whole = prompt(&["-p", "Once upon a time"]);
    assert!(parts < whole);
    let glued = prompt(&["--session", session, "-p", " wolf"]);
    assert_eq!(
        glued,
        prompt(&["-p", " wolf"]) - 2,
        "no token for a space more, nor for the beginning"
    );
    go_on(session, &["-p", "", "--regex", "yes"]);
    assert_eq!(
        prompt(&["--session", session, "-p", "Once upon a time"]),
        whole - 1
    );
}

/// A text that has not fulfilled its constraint goes on following it.
#[test]
fn a_constraint_goes_on_in_a_session() {
    let folder = tempfile::tempdir().unwrap();
    for constraint in [&["--regex", "[a-z]{20} [a-z]{30}"][..], &["--json-mode"]] {
        let session = folder.path().join(constraint[0]);
        let session = session.to_str().unwrap();
        let sampling = ["--temp", "1.5", "--seed", "11", "--speculate", "always"];
        let whole =
            cut_off(&[&["-p", "Once", "-n", "24", "--json"][..], &sampling, constraint].concat());
        let whole: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(whole["stop_reason"], "length");
        let (first, _) = go_on(
            session,
            &[&["-p", "Once", "-n", "9"][..], &sampling, constraint].concat(),
        );
        let (second, _) = go_on(session, &["-p", "", "-n", "5"]);
        let (third, _) = go_on(session, &[&["-p", "", "-n", "10"][..], constraint].concat());
        assert_eq!(first + &second + &third, whole["text"].as_str().unwrap());
        // After a new prompt the text is free, or what is asked for now.
        let (new, _) = go_on(session, &["-p", " Then", "-n", "60", "--regex", "(yes|no)!"]);
        assert!(["yes!", "no!"].contains(&&*new), "{new}");
    }
}

#[test]
fn conversations_are_for_chat() {
    let folder = tempfile::tempdir().unwrap();
    let [text, talk] =
        ["text", "talk"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    go_on(&text, &["-p", "One day", "-n", "3"]);
    let chat = |session: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
        command.args(["chat", "--template", "v1", "--session", session]);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let refused = chat(&text);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && told.contains("no conversation"),
        "{told}"
    );
    assert!(chat(&talk).status.success());
    assert!(fails(&["-p", "x", "--session", &talk], 1).contains("bise chat"));
    assert!(
        fails(&["-p", "x", "--session", "/no/such/folder/x"], 1).contains("there is no folder")
    );
}
