//! Sessions of programs that are killed, of two programs at once, and of `run` and `chat` in turn.

use super::{contents, fails, fixture, succeeds};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A chat over pipes.
struct Chat {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Chat {
    fn new(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bise"))
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, answers) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.map_while(|line| send.send(line).ok()).for_each(drop);
        });
        Self {
            child,
            input,
            answers,
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn answer(&self) -> String {
        self.answers
            .recv_timeout(Duration::from_secs(60))
            .expect("an answer")
    }

    /// Ends the program as a power failure would, and gives the answers that had come.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.answers.iter().collect()
    }
}

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The answers that the session in `folder` keeps, by what the program says of it.
fn kept(folder: &Path) -> Vec<String> {
    succeeds(folder, &["chat", "--session", "session"], "/save talk.json\n");
    let talk: Value = serde_json::from_slice(&fs::read(folder.join("talk.json")).unwrap()).unwrap();
    let messages = talk["messages"].as_array().unwrap();
    let by = |role: &str| {
        messages
            .iter()
            .filter(|message| message["role"] == role)
            .collect::<Vec<_>>()
    };
    let (questions, answers) = (by("user"), by("assistant"));
    assert_eq!(questions.len(), answers.len(), "{messages:?}");
    let answers = answers.into_iter();
    answers
        .map(|answer| answer["content"].as_str().unwrap().to_owned())
        .collect()
}

/// Killed at any moment, a chat has lost at most the answer that it was making or has just made,
/// and the session is whole.
#[test]
fn a_killed_chat_loses_at_most_the_answer_in_progress() {
    let kills = std::env::var("BISE_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut numbers = Numbers(7);
    let mut before: Vec<String> = Vec::new();
    for round in 0..kills {
        if before.len() > 20 {
            fs::remove_file(folder.join("session")).unwrap();
            before.clear();
        }
        let line = [
            "chat",
            "--session",
            "session",
            "-n",
            "6",
            "--temp",
            "1",
            "--regex",
            "[A-Z][a-z]{3,9}[.]",
        ];
        let mut chat = Chat::new(folder, &line);
        let whole = numbers.below(4);
        let mut seen: Vec<String> = Vec::new();
        for i in 0..whole {
            chat.say(&format!("Message {i} of round {round}"));
            seen.push(chat.answer());
        }
        chat.say("And then?");
        std::thread::sleep(Duration::from_micros(numbers.below(40_000)));
        seen.extend(chat.kill());
        if !folder.join("session").exists() {
            assert!(before.is_empty() && seen.len() <= 1, "round {round}: {seen:?}");
            continue;
        }
        let now = kept(folder);
        let all = [&before[..], &seen].concat();
        assert!(now.starts_with(&before), "round {round}: {before:?}, {now:?}");
        // The last line may have been cut.
        let sure = all.len().saturating_sub(1).max(before.len());
        assert!(
            now.len() >= sure && now.len() <= all.len() + 1,
            "round {round}: {all:?}, {now:?}"
        );
        assert_eq!(now[..sure], all[..sure], "round {round}");
        before = now;
    }
    let left: Vec<_> = contents(folder).into_keys().collect();
    assert!(left.len() <= 2, "{left:?}");
}

#[test]
fn two_programs_do_not_write_one_session() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("other")).unwrap();
    let line = ["chat", "--session", "session", "-n", "4"];
    let mut first = Chat::new(folder, &line);
    first.say("Hello");
    first.answer();
    for (second, input) in [
        (&line[..], "Hello\n"),
        (&["run", "-p", "Hello", "--session", "other/../session"], ""),
    ] {
        let told = fails(folder, second, input);
        assert!(
            told.contains("session is in use") && told.contains("another program"),
            "{told}"
        );
    }
    first.say("/save session");
    first.say("And then?");
    first.answer();
    first.kill();
    // The lock of a killed program holds nobody up.
    let kept = kept(folder);
    assert!(!kept.is_empty());
    assert!(!folder.join(".session.bise-lock").exists());
}

/// Answers of `run --chat` and of `chat` to the same messages are the same, in whatever turn they
/// keep the session.
#[test]
fn run_and_chat_go_on_with_each_others_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let said = ["Once upon a time", "And then?", "Who was it?"];
    let how = ["-n", "12", "--temp", "0"];
    let chat = |said: &[&str], more: &[&str]| {
        succeeds(folder, &[&["chat"], &how[..], more].concat(), &said.join("\n"))
    };
    let run = |said: &str, more: &[&str]| {
        succeeds(
            folder,
            &[&["run", "--chat", "-p", said], &how[..], more].concat(),
            "",
        )
    };
    let whole = chat(&said, &["--system", "Be brief."]);
    let session = ["--session", "session"];
    let mut parts = run(said[0], &["--session", "session", "--system", "Be brief."]);
    parts += &chat(&said[1..2], &session);
    parts += &run(said[2], &session);
    let lines = |text: &str| {
        text.lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&parts), lines(&whole));
    assert_eq!(kept(folder).len(), 3);
    let told = fails(folder, &["run", "-p", "x", "--session", "session"], "");
    assert!(
        told.contains("the session is a conversation") && told.contains("--chat"),
        "{told}"
    );
}

/// What stays when the context is full is the prompt that the text began with, also after a stop.
#[test]
fn a_shifted_text_goes_on_as_if_it_had_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = fixture("tiny-mistral");
    let model = ["run", model.to_str().unwrap()];
    let how = [
        "-c",
        "64",
        "--sliding-window",
        "off",
        "--json",
        "--ignore-eos",
        "--context-shift",
    ];
    let tokens = |more: &[&str]| -> Vec<Value> {
        let told = succeeds(folder, &[&model[..], &how, more].concat(), "");
        let result: Value = serde_json::from_str(&told).unwrap();
        result["tokens"].as_array().unwrap().clone()
    };
    for way in [&["--temp", "0"][..], &["--temp", "1", "--seed", "7"]] {
        let prompt = ["-p", "Once upon a time there was a"];
        let start = [&prompt[..], way].concat();
        let whole = tokens(&[&start[..], &["-n", "120"]].concat());
        for cut in [20, 70] {
            let _ = fs::remove_file(folder.join("session"));
            let session = ["--session", "session", "-n"];
            let (first, second) = (cut.to_string(), (120 - cut).to_string());
            let mut parts = tokens(&[&start[..], &session, &[&first]].concat());
            parts.extend(tokens(&[&["-p", ""][..], &session, &[&second]].concat()));
            assert_eq!(parts, whole, "{way:?}, stopped after {cut}");
        }
    }
}
