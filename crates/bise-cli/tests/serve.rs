//! `bise serve` as whoever starts it meets it: what it prints, how it ends, what it refuses.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program with these arguments after `serve`, at a port of its own, and with signals that it
/// hears, whatever whoever started the tests ignores: Linux's `env` sees to it.
fn serve(arguments: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_bise");
    let mut command = match cfg!(target_os = "linux") {
        true => {
            let mut command = Command::new("env");
            command.args(["--default-signal=INT,TERM,HUP", program]);
            command
        }
        false => Command::new(program),
    };
    command.arg("serve").args(arguments);
    if !arguments.contains(&"--port") {
        command.args(["--port", "0"]);
    }
    command
        .env_remove("BISE_API_KEY")
        .env_remove("BISE_MODEL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A server that is ready.
struct Server {
    child: Child,
    place: String,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::run(serve(arguments))
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let place = line.strip_prefix("listening at http://").map(str::trim);
        let place = place.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self {
            child,
            place,
            input,
            output,
        }
    }

    fn connect(&self, line: &str, body: &str) -> TcpStream {
        let port = self.place.rsplit_once(':').unwrap().1;
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let len = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len}\r\n"
        );
        let key = "Authorization: Bearer secret\r\nx-stainless-retry-count: 2\r\n";
        stream
            .write_all(format!("{head}{key}\r\n{body}").as_bytes())
            .unwrap();
        stream
    }

    /// All that is answered.
    fn ask(&self, line: &str, body: &Value) -> String {
        let mut text = String::new();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.connect(line, &body).read_to_string(&mut text).unwrap();
        text
    }

    /// A stream of `n` long answers that has begun.
    fn stream(&self, n: usize) -> TcpStream {
        let mut body = json!({"prompt": "Once", "max_tokens": 1500, "ignore_eos": true, "n": n});
        body["stream"] = json!(true);
        let mut stream = self.connect("POST /v1/completions", &body.to_string());
        stream.read_exact(&mut [0; 400]).unwrap();
        stream
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Exit code, and the rest of standard output and standard error, once it has ended.
    fn wait(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.output.read_to_string(&mut out).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

impl Drop for Server {
    /// No test leaves a server behind, not even one that fails.
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What is said by a run that ends by itself.
fn ends(arguments: &[&str], code: i32) -> Output {
    let output = serve(arguments).stdin(Stdio::null()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(
        !said.contains("panicked") && !said.contains("fault of the program"),
        "{said}"
    );
    output
}

#[test]
fn a_fresh_machine_has_a_server() {
    let server = Server::start(&[]);
    assert!(server.place.starts_with("127.0.0.1:"));
    assert!(
        server
            .ask("GET /health", &Value::Null)
            .starts_with("HTTP/1.1 200")
    );
    let chat = json!({"messages": [{"role": "user", "content": "Once"}], "max_tokens": 3});
    assert!(
        server
            .ask("POST /v1/chat/completions", &chat)
            .contains("chat.completion")
    );
    server.signal("-INT");
    let (code, out, err) = server.wait();
    assert_eq!((code, &*out), (Some(0), ""), "{err}");
    assert!(err.contains("note: up to 64 answers at a time"), "{err}");
}

#[test]
fn answers_end_before_the_server_does() {
    let server = Server::start(&[]);
    let mut stream = server.stream(1);
    server.signal("-TERM");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains("data: [DONE]") && !rest.contains("\"error\""),
        "{rest}"
    );
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::start(&[]);
    let _stream = server.stream(60);
    let start = Instant::now();
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(100));
    server.signal("-TERM");
    assert_eq!(server.wait().0, Some(128 + 15));
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn grace_has_an_end() {
    let server = Server::start(&["--grace", "0"]);
    let mut stream = server.stream(60);
    let start = Instant::now();
    server.signal("-TERM");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("[DONE]"));
    assert_eq!(server.wait().0, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn it_ends_with_the_program_that_started_it() {
    let mut server = Server::start(&["--exit-with-parent"]);
    let mut stream = server.stream(1);
    server.input = None;
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: [DONE]"), "{rest}");
    assert_eq!(server.wait().0, Some(0));
    // Otherwise it does not care.
    let mut server = Server::start(&[]);
    server.input = None;
    std::thread::sleep(Duration::from_millis(100));
    assert!(
        server
            .ask("GET /health", &Value::Null)
            .starts_with("HTTP/1.1 200")
    );
    server.signal("-TERM");
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn a_model_that_cannot_be_loaded_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.gguf");
    fs::write(&file, "GGUF").unwrap();
    for path in [file.to_str().unwrap(), "absent.gguf"] {
        let output = ends(&[path], 1);
        let said = text(&output.stderr);
        assert!(said.starts_with("error: ") && said.contains(path), "{said}");
        assert!(!text(&output.stdout).contains("ready"));
    }
}

#[test]
fn a_port_that_is_taken_is_said() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_bise"))
        .args(["serve", "--port", &port])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("port {port} of 127.0.0.1 is taken")),
        "{said}"
    );
    assert!(said.contains("--port") && output.stdout.is_empty(), "{said}");
}

#[test]
fn other_machines_need_a_key() {
    let output = ends(&["--host", "0.0.0.0"], 1);
    let said = text(&output.stderr);
    for way in ["--api-key-file", "BISE_API_KEY", "--no-key"] {
        assert!(said.contains(way), "{said}");
    }
    assert!(output.stdout.is_empty());
    let mut command = serve(&["--host", "0.0.0.0"]);
    command.env("BISE_API_KEY", "secret");
    let server = Server::run(command);
    assert!(
        server
            .ask("GET /v1/models", &Value::Null)
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn keys_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let name = file.to_str().unwrap();
    for (keys, status) in [("other\n\nsecret\n", "200"), ("other\n", "401")] {
        fs::write(&file, keys).unwrap();
        let server = Server::start(&["--api-key-file", name]);
        let reply = server.ask("GET /v1/models", &Value::Null);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
        assert!(
            server
                .ask("GET /health", &Value::Null)
                .starts_with("HTTP/1.1 200")
        );
    }
    fs::write(&file, "\n").unwrap();
    assert!(text(&ends(&["--api-key-file", name], 1).stderr).contains("there is no key"));
    fs::write(&file, "one\ntwo words\n").unwrap();
    let said = ends(&["--api-key-file", name], 1);
    assert!(text(&said.stderr).contains("line 2") && !text(&said.stderr).contains("two words"));
    ends(&["--api-key-file", name, "--no-key"], 2);
}

#[test]
fn options_out_of_range_are_refused() {
    for (option, value) in [
        ("--port", "65536"),
        ("--port", "-1"),
        ("--sequences", "0"),
        ("--queue", "0"),
        ("--kv-memory", "4X"),
        ("--kv-memory", "-1"),
        ("--max-body", "0"),
        ("--grace", "-1"),
        ("--grace", "1.5"),
        ("--allow-origin", "example.com"),
        ("--allow-host", "http://example.com"),
        ("--alias", " "),
        ("--log", "xml"),
        ("--pooling", "max"),
        ("--temp", "nan"),
    ] {
        let output = ends(&[option, value], 2);
        let said = text(&output.stderr);
        let expected = format!("error: invalid value '{value}' for '{option} <");
        assert!(said.starts_with(&expected), "{said}");
    }
    let said = ends(&["--log", "off", "--log-text"], 2);
    assert!(text(&said.stderr).contains("--log-text"));
    let said = ends(&["--samplers", "temperature", "--top-k", "3"], 2);
    assert!(text(&said.stderr).contains("top-k"));
}

#[test]
fn the_log_tells_of_requests_and_no_texts() {
    let word = "Zanzibar";
    let body = json!({"prompt": format!("Once {word}"), "max_tokens": 5, "ignore_eos": true});
    let lines = |arguments: &[&str]| {
        let server = Server::start(arguments);
        server.ask("POST /completions?a=b", &body);
        server.ask(&format!("GET /v1/models/{word}"), &Value::Null);
        server.signal("-TERM");
        server.wait().2
    };
    let json = lines(&["--log", "json", "-q"]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    for (field, value) in [
        ("method", json!("POST")),
        ("path", json!("/v1/completions")),
        ("status", json!(200)),
        ("generated", json!(5)),
        ("retry", json!(2)),
    ] {
        assert_eq!(first[field], value, "{first}");
    }
    assert!(
        first["ms"].is_number() && first["prompt"].as_u64().unwrap() > 1,
        "{first}"
    );
    assert!(!json.contains("Once") && !json.contains("a=b"), "{json}");
    let text = lines(&[]);
    assert!(text.contains("path=\"/v1/completions\" status=200 ms="), "{text}");
    assert!(!text.contains("Once"), "{text}");
    assert_eq!(lines(&["--log", "off", "-q"]), "");
    assert!(lines(&["--log-text"]).contains(&format!("Once {word}")));
}

#[test]
fn names_and_sampling_are_those_that_were_asked_for() {
    let server = Server::start(&["--alias", "one", "--alias", "two", "--temp", "0"]);
    let models = server.ask("GET /v1/models", &Value::Null);
    assert!(
        models.contains("\"one\"") && models.contains("\"two\""),
        "{models}"
    );
    let answer = || {
        let reply = server.ask(
            "POST /v1/completions",
            &json!({"prompt": "Once", "max_tokens": 20}),
        );
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        body["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(answer(), answer());
}
