//! `bise chat` as a person meets it: in a terminal, and in a pipe.
#![cfg(unix)]

use pty_process::Size;
use pty_process::blocking::{Command as PtyCommand, Pty, open};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The built-in model is no chat model; it reads this format well enough.
const CHAT: [&str; 5] = ["chat", "--template", "v1", "--temp", "0"];

/// `bise chat` in a terminal, and what the terminal shows.
struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// All that came, for messages.
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn new(rows: u16, cols: u16, args: &[&str]) -> Self {
        let (pty, program_side) = open().unwrap();
        pty.resize(Size::new(rows, cols)).unwrap();
        let command = PtyCommand::new(env!("CARGO_BIN_EXE_bise")).args(CHAT).args(args);
        let command = command
            .env("BISE_HISTORY", "")
            .env("TERM", "xterm")
            .env("NO_COLOR", "1");
        let child = command.spawn(program_side).unwrap();
        let pty = Arc::new(pty);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, cols, 1000)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let (output, shown, all) = (pty.clone(), screen.clone(), raw.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = (&*output).read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..n]);
                all.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        let mut terminal = Self {
            child,
            pty,
            screen,
            raw,
        };
        terminal.wait_for_prompt();
        terminal
    }

    fn type_keys(&mut self, keys: impl AsRef<[u8]>) {
        (&*self.pty).write_all(keys.as_ref()).unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).into_owned()
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "no {what} in:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The line where the cursor is begins with the prompt and holds nothing else, and no drawing
    /// is under way: the editor puts what it draws between `CSI ? 2026 h` and `CSI ? 2026 l`.
    fn wait_for_prompt(&mut self) {
        self.wait("prompt", |terminal| {
            let text = terminal.text();
            if text.rfind("\x1b[?2026h") > text.rfind("\x1b[?2026l") {
                return false;
            }
            let screen = terminal.screen.lock().unwrap();
            let (row, _) = screen.screen().cursor_position();
            let line = screen.screen().rows(0, 200).nth(usize::from(row));
            line.is_some_and(|line| line.trim_end() == ">")
        });
    }

    /// Types a line that is not empty, and gives what is shown until the next prompt.
    fn say(&mut self, line: impl AsRef<[u8]>) -> String {
        assert!(!line.as_ref().is_empty(), "an empty line has no echo to wait for");
        let before = self.raw.lock().unwrap().len();
        self.type_keys(line);
        // The prompt of this very line must go first.
        self.wait("echo", |terminal| terminal.raw.lock().unwrap().len() > before);
        self.type_keys("\r");
        self.wait("line end", |terminal| {
            terminal.raw.lock().unwrap()[before..].contains(&b'\n')
        });
        self.wait_for_prompt();
        String::from_utf8_lossy(&self.raw.lock().unwrap()[before..]).replace("\r\n", "\n")
    }

    fn end(mut self, line: &str) {
        self.type_keys(line);
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status:?}:\n{}", self.text());
                return;
            }
            assert!(start.elapsed() < PATIENCE, "it goes on:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first message may stand on the command line; answers are broken between words.
#[test]
fn a_first_message_and_whole_words() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/demo.gguf");
    let arguments = [demo.to_str().unwrap(), "Tell me a story", "-n", "60"];
    let terminal = Terminal::new(40, 30, &arguments);
    let screen = terminal.screen.lock().unwrap().screen().contents();
    let piped = pipe(b"", &arguments);
    assert!(text(&piped.stderr).contains("> Tell me a story"));
    let answer = text(&piped.stdout);
    assert!(answer.lines().any(|line| line.len() > 30), "{answer}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (shown, said) = (words(&screen), words(answer));
    assert!(shown.windows(said.len()).any(|words| words == said), "{screen}");
}

/// Signals end a chat that waits at its prompt: the session has all that was said and taken back,
/// and the terminal is as it was.
#[test]
fn signals_at_the_prompt() {
    for (signal, code) in [("-TERM", 143), ("-HUP", 129)] {
        let folder = tempfile::tempdir().unwrap();
        let session = folder.path().join("session");
        let session = session.to_str().unwrap();
        let mut terminal = Terminal::new(24, 80, &["--session", session, "-n", "5"]);
        terminal.say("One");
        terminal.say("Two");
        terminal.say("/undo");
        let id = terminal.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let start = Instant::now();
        let status = terminal.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{}", terminal.text());
        assert!(start.elapsed() < Duration::from_secs(10));
        let output = pipe(b"/undo\n", &["--session", session]);
        assert!(
            text(&output.stderr).contains("2 messages from"),
            "{}",
            text(&output.stderr)
        );
    }
}

/// `bise chat` in a pipe.
fn pipe(input: &[u8], args: &[&str]) -> Output {
    feed(input, &[&CHAT[..], args].concat())
}

/// The program with `args` and nothing else, fed from a pipe.
fn feed(input: &[u8], args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bise"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_dialogue_with_an_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.json");
    let save = format!("/save {}", file.display());
    // Without an end of text, only Ctrl-C ends an answer: the window lets any number of tokens
    // through.
    let mut terminal = Terminal::new(24, 80, &["--logit-bias", "2=-inf"]);
    let before = terminal.raw.lock().unwrap().len();
    terminal.type_keys("Tell me a story\r");
    terminal.wait("answer", |t| t.raw.lock().unwrap().len() > before + 300);
    terminal.type_keys("\x03");
    terminal.wait_for_prompt();
    assert!(terminal.text().contains("Stopped. /retry"), "{}", terminal.text());
    assert!(terminal.say("/stats").contains("last answer"));
    // Where nothing goes on, Ctrl-C says how to end.
    terminal.type_keys("\x03");
    terminal.wait("advice", |t| t.text().contains("Ctrl-D or /exit"));
    terminal.wait_for_prompt();
    assert!(terminal.say(&save).contains("Saved"));
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(
        saved.contains("Tell me a story") && saved.contains("assistant"),
        "{saved}"
    );
    assert!(terminal.say("/undo").contains("0 messages are left"));
    assert!(terminal.say("/undo").contains("nothing to undo"));
    assert!(terminal.say("/nonsense").contains("no command /nonsense"));
    let loaded = terminal.say(format!("/load {}", file.display()));
    assert!(loaded.contains("2 messages"), "{loaded}");
    terminal.end("/exit\r");
}

/// A conversation goes on after /load as if it had never been left.
#[test]
fn saved_conversations_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.json");
    let name = file.to_str().unwrap();
    let first = format!("Who lives here?\n/save {name}\nAnd then?\n");
    let whole = pipe(first.as_bytes(), &["-n", "30"]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let again = pipe(b"And then?\n", &["-n", "30", "--load", name]);
    let (whole, again) = (text(&whole.stdout), text(&again.stdout));
    assert!(!again.trim().is_empty());
    assert!(whole.ends_with(again), "{whole}\n---\n{again}");
    assert!(saved_is_json(&file));
}

fn saved_is_json(file: &Path) -> bool {
    serde_json::from_slice::<serde_json::Value>(&std::fs::read(file).unwrap()).is_ok()
}

#[test]
fn several_lines_and_pastes() {
    let mut terminal = Terminal::new(24, 80, &["-n", "8"]);
    terminal.type_keys("\"\"\"first\r");
    terminal.say("second\"\"\"");
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.json");
    terminal.say(format!("/save {}", saved.display()));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(saved).unwrap()).unwrap();
    assert_eq!(json["messages"][0]["content"], "first\nsecond");
    // Bytes that are no UTF-8, as from a paste out of another program.
    terminal.type_keys(b"caf\xe9 \xff\xfe time\r");
    terminal.wait("notice", |t| t.text().contains("no UTF-8 came"));
    terminal.wait_for_prompt();
    assert!(terminal.say("/stats").contains("conversation"));
    terminal.end("\x04");
}

#[test]
fn a_narrow_window() {
    let mut terminal = Terminal::new(5, 20, &["-n", "30"]);
    let shown = terminal.say("A line that is longer than the window is wide, and goes on and on");
    assert!(shown.len() > 100, "{shown}");
    terminal.say("/undo");
    terminal.end("\x04");
}

#[test]
fn a_pipe_gets_answers_and_nothing_else() {
    let output = pipe(
        b"Once upon a time\n\"\"\"two\nlines\"\"\"\nbad \xff bytes\n/nonsense\n",
        &["-n", "12"],
    );
    assert!(output.status.success());
    let (answers, notices) = (text(&output.stdout), text(&output.stderr));
    assert!(
        !answers.is_empty() && !answers.contains("> ") && !answers.contains('\x1b'),
        "{answers}"
    );
    assert_eq!(notices.matches("Stopped after 12 tokens").count(), 3, "{notices}");
    assert!(
        notices.contains("no UTF-8") && notices.contains("no command /nonsense"),
        "{notices}"
    );
}

#[test]
fn a_full_context_is_said_and_shifted_on_request() {
    let long = "word ".repeat(200);
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("no-window.gguf");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mixtral");
    let made = Command::new(env!("CARGO_BIN_EXE_bise"))
        .args(["quantize", "--type", "Q8_0"])
        .args([&source, &model])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let input = format!("{long}\n{long}\n{long}\n");
    let run = |more: &[&str]| {
        let model = model.to_str().unwrap();
        let settled = [
            model,
            "--template",
            "v1",
            "--temp",
            "0",
            "-n",
            "8",
            "--ctx",
            "700",
        ];
        chat(&input, &[&settled[..], more].concat()).1
    };
    let told = run(&[]);
    assert!(
        told.contains("the context holds 700") && told.contains("--context-shift"),
        "{told}"
    );
    let shifted = run(&["--context-shift"]);
    assert!(shifted.contains("oldest 2 messages are left out"), "{shifted}");
}

/// `bise chat` with nothing but `args`.
fn chat(input: &str, args: &[&str]) -> (String, String) {
    let output = feed(input.as_bytes(), &[&["chat"][..], args].concat());
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

/// Stopped after any of its lines and gone on with in another program, a chat says what it would
/// have said. All that was asked for is kept: nothing but the session is named again.
#[test]
fn a_session_goes_on_as_if_it_had_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (session, talk, cache) = (file("session"), file("talk.json"), file("cache"));
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/demo.gguf");
    let lines = [
        "Once upon a time",
        "And then?",
        "/retry",
        &format!("/save {talk}"),
        "/set temp 1.6",
        "/undo",
        "Who was it?",
        "/reset",
        "Hello",
        &format!("/load {talk}"),
        "Go on",
    ];
    let ways: [(&[&str], &[&str]); 3] = [
        (&["--mirostat", "2", "--temp", "1.2"], &["--speculate", "always"]),
        (
            &["--regex", "[A-Z][a-z ]{15,40}[.]"],
            &["--draft", demo.to_str().unwrap(), "--speculate", "always"],
        ),
        (
            &["--system", "Tell of a dog and of a cat that was its friend."],
            &["--prompt-cache", &cache],
        ),
    ];
    for (kept, each) in ways {
        let kept = [&["--template", "v1", "--seed", "7"], kept].concat();
        let each = [&["-n", "14"], each].concat();
        let whole = chat(&lines.join("\n"), &[&kept[..], &["-n", "14"]].concat()).0;
        assert!(whole.lines().count() >= 6, "{whole}");
        for stop in 1..lines.len() {
            let _ = std::fs::remove_file(&session);
            let [first, second] = [&lines[..stop], &lines[stop..]].map(|lines| lines.join("\n"));
            let each = [&["--session", &session], &each[..]].concat();
            let before = chat(&first, &[&kept[..], &each].concat()).0;
            let (after, told) = chat(&second, &each);
            assert_eq!(before + &after, whole, "{kept:?}, stopped after {stop} lines");
            assert!(told.contains(" messages from "), "{told}");
        }
    }
}

#[test]
fn a_resumed_chat_shows_where_it_was_and_what_changes() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session");
    let session = ["--session", session.to_str().unwrap()];
    let start = ["--template", "v1", "--seed", "7", "-n", "9"];
    let (answer, _) = chat("Who lives here?", &[&start[..], &session].concat());
    let (_, told) = chat("", &session);
    assert!(
        told.contains("2 messages from ") && told.contains("> Who lives here?\n"),
        "{told}"
    );
    assert!(told.contains(answer.trim()), "{told}");
    let (_, told) = chat(
        "/set\n/system",
        &[&["--seed", "8", "--system", "Be kind."], &session[..]].concat(),
    );
    assert!(
        told.contains("from seed 8 instead of 7") && told.contains("seed 8"),
        "{told}"
    );
    assert!(told.contains("Be kind."), "{told}");
    let mut terminal = Terminal::new(24, 80, &session);
    assert!(
        terminal.text().contains("> Who lives here?"),
        "{}",
        terminal.text()
    );
    assert!(terminal.say("/undo").contains("0 messages are left"));
    terminal.end("/exit\r");
    assert!(chat("", &session).1.contains("0 messages from "));
    // What is damaged is refused, and stays what it is.
    let mut bytes = std::fs::read(session[1]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(session[1], &bytes).unwrap();
    let refused = pipe(b"Hello", &session);
    assert!(!refused.status.success() && text(&refused.stderr).contains("damaged"));
    assert_eq!(std::fs::read(session[1]).unwrap(), bytes);
}

#[test]
fn answers_follow_what_is_set() {
    let is_one = |shown: &str| {
        ["yes, sir\n", "no, sir\n"]
            .iter()
            .any(|answer| shown.contains(answer))
    };
    let mut terminal = Terminal::new(24, 80, &["-n", "40", "--regex", "(yes|no), sir"]);
    for line in ["Are you a dog?", "/retry", "And now?"] {
        let shown = terminal.say(line);
        assert!(is_one(&shown), "{shown}");
    }
    assert!(
        terminal
            .say("/set regex a(b")
            .contains("--regex: the regular expression is not accepted")
    );
    assert!(is_one(&terminal.say("/retry")), "the old one holds");
    assert!(
        terminal
            .say("/set json-mode")
            .contains("answers follow --json-mode")
    );
    assert!(terminal.say("A dog, please").contains("\n{"));
    assert!(
        terminal
            .say("/set json-schema /no/such/file")
            .contains("/no/such/file")
    );
    assert!(
        terminal
            .say("/set unconstrained")
            .contains("answers follow no constraint")
    );
    assert!(!terminal.say("/retry").contains("\n{"));
    assert!(terminal.say("/set nonsense 3").contains("unexpected argument"));
    terminal.end("\x04");
}

/// What was read of a prompt is not read again in the next chat.
#[test]
fn a_prompt_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let system = "Long ago there was a town between two hills, and all who lived there had a dog.";
    let args = [
        "--template",
        "v1",
        "--temp",
        "0",
        "-n",
        "5",
        "--system",
        system,
        "--prompt-cache",
    ];
    let args = [&args[..], &[folder.path().to_str().unwrap()]].concat();
    let read = |told: &str| -> u32 {
        let start = told.find(" tokens, ").expect("stats") + 9;
        told[start..].split(' ').next().unwrap().parse().unwrap()
    };
    let (first, told) = chat("Who was there?\n/stats", &args);
    let before = read(&told);
    let (second, told) = chat("Who was there?\n/stats", &args);
    assert!(
        first == second && before > 20 && read(&told) < 3,
        "{before}, then {told}"
    );
    let (_, told) = chat("Where was it?\n/stats", &args);
    assert!(read(&told) < before / 2, "{told}");
}
