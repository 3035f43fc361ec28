//! What stands around the handlers: who may ask, what paths there are, how much and how slowly may
//! be asked, and how the server begins and ends.

mod common;

use bise_serve::{Patience, Served, Server, ServerError, ServerOptions};
use common::Setup;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server whose beginning and end a test decides about.
struct Own {
    place: String,
    loading: bise_serve::Loading,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Own {
    fn new(options: ServerOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let options = ServerOptions { port: 0, ..options };
        let server = runtime.block_on(Server::bind(options)).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let asked = end.clone();
        let (place, loading) = (server.address().to_string(), server.loading());
        let thread = std::thread::spawn(move || {
            let end = async move {
                while !asked.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            runtime.block_on(server.run(end))
        });
        Self {
            place,
            loading,
            end,
            thread: Some(thread),
        }
    }

    /// With its model.
    fn ready(options: ServerOptions) -> (Self, Arc<Served>) {
        let served = Arc::new(Setup::default().served());
        let server = Self::new(options);
        server.loading.ready(served.clone());
        (server, served)
    }

    fn end(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    /// How the server ended.
    fn wait(mut self) -> Result<(), ServerError> {
        self.thread.take().unwrap().join().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.place).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// What is answered to a request that is written out; the connection is closed after it.
    fn say(&self, request: &str) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Reply::read(stream)
    }

    /// A request with these lines in its head.
    fn ask(&self, line: &str, headers: &[&str], body: &str) -> Reply {
        self.say(&request(&self.place, line, headers, body))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// A request for a server at `place`, or for the host that is among the headers.
fn request(place: &str, line: &str, headers: &[&str], body: &str) -> String {
    let host = format!("Host: {place}");
    let mut head = vec![format!("{line} HTTP/1.1"), "Connection: close".to_owned()];
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        head.push(host);
    }
    head.extend(headers.iter().map(|header| (*header).to_owned()));
    if !body.is_empty() {
        head.push(format!("Content-Length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", head.join("\r\n"))
}

/// What came by a connection until it was closed.
struct Reply {
    status: u16,
    /// In small letters.
    head: String,
    body: String,
}

/// All that comes until a connection is closed, or broken.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Reply {
    fn read(stream: TcpStream) -> Self {
        let text = rest(stream);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}\n{}", self.head, self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(found, value)| (found == name).then_some(value))
    }
}

/// What is said in an error, whatever form it has.
fn message(body: &Value) -> String {
    let error = &body["error"];
    let message = error["message"].as_str().or(error.as_str());
    message.unwrap_or_else(|| panic!("no error: {body}")).to_owned()
}

const CHAT: &str = r#"{"messages": [{"role": "user", "content": "Once"}], "max_tokens": 2}"#;

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn paths_are_found_however_they_are_written() {
    let (server, _served) = Own::ready(ServerOptions::default());
    for path in [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/chat/completions/",
        "//v1//chat//completions",
        "/chat/completions?timeout=1",
    ] {
        let reply = server.ask(&format!("POST {path}"), &[], CHAT);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    }
    for path in [
        "/v1/models",
        "/models",
        "/models/tiny",
        "/v1/models/tiny/",
        "/health/",
    ] {
        assert_eq!(server.ask(&format!("GET {path}"), &[], "").status, 200, "{path}");
    }
}

#[test]
fn what_is_not_there_is_told_in_the_form_of_the_path() {
    let (server, _served) = Own::ready(ServerOptions::default());
    for (line, status, words) in [
        (
            "POST /v1/v1/chat/completions",
            404,
            "did you mean /v1/chat/completions?",
        ),
        (
            "POST /openai/v1/completions",
            404,
            "did you mean /v1/completions?",
        ),
        ("GET /v1/v1/models/x", 404, "did you mean /v1/models/x?"),
        ("GET /v1/health", 404, "did you mean /health?"),
        ("GET /nothing", 404, "there are /"),
        ("GET /v1/chat/completions", 405, "expected POST"),
        ("DELETE /v1/models", 405, "expected GET"),
        ("GET /v1/models/%FF", 400, "UTF-8"),
        ("GET /v1/models/other", 404, "other"),
    ] {
        let reply = server.ask(line, &[], "");
        assert_eq!(reply.status, status, "{line}: {}", reply.body);
        assert!(message(&reply.json()).contains(words), "{line}: {}", reply.body);
        assert!(
            reply.json()["error"]["type"].is_string(),
            "{line}: {}",
            reply.body
        );
        assert_eq!(reply.header("content-type"), Some("application/json"), "{line}");
        assert_eq!(
            reply.header("allow").is_some(),
            status == 405,
            "{line}: {}",
            reply.head
        );
    }
    let ollama = server.ask("POST /v1/api/nothing", &[], "{}");
    assert!(ollama.status == 404 && ollama.json()["error"].is_string());
    for path in ["/v1/v1/messages", "/messages/nothing"] {
        let anthropic = server.ask(&format!("POST {path}"), &[], "{}").json();
        assert_eq!(anthropic["error"]["type"], "not_found_error", "{path}");
        assert_eq!(anthropic["type"], "error", "{path}");
    }
    let long = server.ask(&format!("GET /{}", "x".repeat(9000)), &[], "");
    assert!(long.status == 404 && long.body.len() < 2000);
}

#[test]
fn a_key_is_asked_for_where_there_is_one() {
    let keys = texts(&["secret", "second-1"]);
    let (server, _served) = Own::ready(ServerOptions {
        keys,
        ..ServerOptions::default()
    });
    for (header, expected) in [
        ("Authorization: Bearer secret", 200),
        ("authorization: bearer  second-1 ", 200),
        ("X-Api-Key: secret", 200),
        ("x-api-key: second-1", 200),
        ("Authorization: Bearer secre", 401),
        ("Authorization: Bearer secret2", 401),
        ("Authorization: secret", 401),
        ("Authorization: Basic secret", 401),
        ("Authorization: Bearer", 401),
        ("Authorization: Bearer ", 401),
        ("Authorization: Bearer s\u{e9}cret", 401),
        ("x-api-key:", 401),
        ("Accept: */*", 401),
    ] {
        for path in ["/v1/models", "/metrics", "/openapi.json"] {
            let reply = server.ask(&format!("GET {path}"), &[header], "");
            assert_eq!(reply.status, expected, "{header} {path}");
            assert_eq!(
                reply.header("www-authenticate"),
                (expected == 401).then_some("bearer")
            );
            if expected == 401 {
                assert_eq!(reply.json()["error"]["code"], "invalid_api_key");
                assert!(!reply.body.contains("secret"), "{}", reply.body);
            }
        }
        assert_eq!(server.ask("GET /health", &[header], "").status, 200);
    }
    let reply = server.ask("POST /v1/chat/completions", &[], CHAT);
    assert_eq!(reply.status, 401);
    assert!(message(&reply.json()).contains("Authorization: Bearer KEY"));
}

#[test]
fn without_a_key_of_its_own_any_will_do() {
    let (server, _served) = Own::ready(ServerOptions::default());
    let reply = server.ask("GET /v1/models", &["Authorization: Bearer dummy"], "");
    assert_eq!(reply.status, 200);
}

#[test]
fn other_names_and_pages_of_other_places_are_refused() {
    let (server, _served) = Own::ready(ServerOptions {
        allow_hosts: texts(&["chat.example.com"]),
        allow_origins: texts(&["https://app.example.com"]),
        ..ServerOptions::default()
    });
    let own = format!("Origin: http://{}", server.place);
    let port = server.place.rsplit_once(':').unwrap().1;
    let local = format!("Host: localhost:{port}");
    for (headers, status, words) in [
        (vec!["Host: evil.com"], 403, "--allow-host evil.com"),
        (vec!["Host: evil.com:80"], 403, "--allow-host evil.com "),
        (vec!["Host: 10.0.0.7"], 403, "--allow-host 10.0.0.7"),
        (vec!["Host: "], 403, "--allow-host"),
        (vec!["Host: chat.example.com"], 200, ""),
        (vec![&*local], 200, ""),
        (
            vec!["Origin: http://evil.com"],
            403,
            "--allow-origin http://evil.com",
        ),
        (vec!["Origin: null"], 403, "--allow-origin null"),
        (vec!["Origin: http://localhost:3000"], 403, "--allow-origin"),
        (vec!["Origin: https://app.example.com"], 200, ""),
        (vec![&*own], 200, ""),
        (vec![&*own, "Host: evil.com"], 403, "--allow-host"),
        (
            vec!["Origin: http://evil.com", "Host: evil.com"],
            403,
            "--allow-host",
        ),
        (
            vec!["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
            403,
            "--allow-origin",
        ),
        (
            vec!["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"],
            200,
            "",
        ),
        (
            vec!["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"],
            200,
            "",
        ),
    ] {
        for (line, body) in [
            ("GET /health", ""),
            ("GET /v1/models", ""),
            ("POST /v1/chat/completions", CHAT),
        ] {
            let reply = server.ask(line, &headers, body);
            assert_eq!(reply.status, status, "{headers:?} {line}: {}", reply.body);
            if status == 403 {
                assert!(
                    message(&reply.json()).contains(words),
                    "{headers:?}: {}",
                    reply.body
                );
            }
        }
    }
    // A request in full, as to a proxy.
    assert_eq!(server.ask("GET http://evil.com/health", &[], "").status, 403);
    // Some that balance load say no name.
    assert_eq!(server.say("GET /health HTTP/1.0\r\n\r\n").status, 200);
}

#[test]
fn pages_that_may_ask_may_read() {
    let (server, _served) = Own::ready(ServerOptions {
        keys: texts(&["secret"]),
        allow_origins: texts(&["https://app.example.com"]),
        ..ServerOptions::default()
    });
    let origin = "Origin: https://app.example.com";
    let preflight = [
        origin,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type,x-stainless-os",
    ];
    let reply = server.ask("OPTIONS /v1/chat/completions", &preflight, "");
    assert_eq!(reply.status, 200);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-methods", "post"),
        (
            "access-control-allow-headers",
            "authorization,content-type,x-stainless-os",
        ),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    // Errors too.
    for header in ["Authorization: Bearer secret", "Authorization: Bearer wrong"] {
        let reply = server.ask("GET /v1/models", &[origin, header], "");
        let allowed = reply.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example.com"), "{header}");
    }
    let evil = ["Origin: https://evil.com", preflight[1], preflight[2]];
    let reply = server.ask("OPTIONS /v1/chat/completions", &evil, "");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[test]
fn bodies_have_an_end() {
    let body = 100_000;
    let (server, _served) = Own::ready(ServerOptions {
        body,
        ..ServerOptions::default()
    });
    let said = "Content-Length: 100001";
    let reply = server.ask("POST /v1/chat/completions", &[said], "");
    assert_eq!(reply.status, 413, "{}", reply.body);
    assert_eq!(reply.json()["error"]["code"], "request_too_large");
    assert!(message(&reply.json()).contains("100000 bytes"));
    let huge = format!("Content-Length: {}0", u64::MAX);
    assert!([400, 413].contains(&server.ask("POST /v1/chat/completions", &[&huge], "").status));
    // In pieces whose number is not said.
    let piece = format!("{:x}\r\n{}\r\n", 60_000, " ".repeat(60_000));
    let chunked = ["Transfer-Encoding: chunked"];
    let head = request(&server.place, "POST /v1/chat/completions", &chunked, "");
    let reply = server.say(&format!("{head}{piece}{piece}0\r\n\r\n"));
    assert_eq!(reply.status, 413, "{}", reply.body);
    // One that fits, with much white space.
    let fits = format!("{}{CHAT}", " ".repeat(90_000));
    assert_eq!(server.ask("POST /v1/chat/completions", &[], &fits).status, 200);
}

#[test]
fn slow_clients_are_given_up() {
    let short = Duration::from_millis(300);
    let (server, _served) = Own::ready(ServerOptions {
        patience: Patience {
            head: short,
            body: short,
            response: short,
        },
        connections: 4,
        ..ServerOptions::default()
    });
    // Nothing, half a head, and as many connections as there may be.
    let start = Instant::now();
    let idle: Vec<TcpStream> = ["", "GET /health HT", "GET /health HTTP/1.1\r\n", "GET"]
        .map(|text| {
            let mut stream = server.connect();
            stream.write_all(text.as_bytes()).unwrap();
            stream
        })
        .into();
    // Who comes then waits until one of them is closed.
    assert_eq!(server.ask("GET /health", &[], "").status, 200);
    assert!(start.elapsed() >= short / 2, "{:?}", start.elapsed());
    for stream in idle {
        assert_eq!(Reply::read(stream).status, 0);
    }
    // A body that does not come.
    let reply = server.ask("POST /v1/chat/completions", &["Content-Length: 10"], "");
    assert_eq!(reply.status, 408, "{}", reply.body);
    assert_eq!(reply.json()["error"]["code"], "timeout");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_server_answers_while_its_model_is_loaded() {
    let server = Own::new(ServerOptions::default());
    server.loading.size(1000);
    server.loading.advance(420);
    let reply = server.ask("GET /health", &[], "");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json(), json!({"status": "loading", "progress": 0.42}));
    for (line, body) in [("GET /v1/models", ""), ("POST /v1/chat/completions", CHAT)] {
        let reply = server.ask(line, &[], body);
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, Some("1")),
            "{line}"
        );
        assert!(message(&reply.json()).contains("42 %"), "{}", reply.body);
        assert_eq!(reply.json()["error"]["code"], "loading_model");
    }
    assert!(
        server
            .ask("GET /metrics", &[], "")
            .body
            .contains("bise_loaded_ratio 0.42")
    );
    server.loading.ready(Arc::new(Setup::default().served()));
    assert_eq!(server.ask("GET /health", &[], "").json()["status"], "ok");
    assert_eq!(server.ask("POST /v1/chat/completions", &[], CHAT).status, 200);
}

/// A request for long answers, of which events come.
fn long_stream(server: &Own) -> TcpStream {
    let body =
        json!({"prompt": "Once", "max_tokens": 1500, "ignore_eos": true, "n": 8, "stream": true});
    let mut stream = server.connect();
    let text = request(&server.place, "POST /v1/completions", &[], &body.to_string());
    stream.write_all(text.as_bytes()).unwrap();
    let mut some = [0; 300];
    stream.read_exact(&mut some).unwrap();
    stream
}

#[test]
fn at_the_end_answers_go_on_and_no_others_begin() {
    let (server, _served) = Own::ready(ServerOptions::default());
    let stream = long_stream(&server);
    // A connection that is open and does nothing holds nobody up.
    let idle = server.connect();
    server.end();
    std::thread::sleep(Duration::from_millis(50));
    let reply = server.ask("POST /v1/completions", &[], CHAT);
    let late = (reply.status, reply.json()["error"]["code"].clone());
    let health = server.ask("GET /health", &[], "");
    assert_eq!(
        (health.status, health.json()["status"].clone()),
        (503, json!("ending"))
    );
    let rest = rest(stream);
    assert_eq!(late, (503, json!("shutting_down")));
    assert!(rest.contains("data: [DONE]") && rest.ends_with("0\r\n\r\n"));
    assert!(!rest.contains("\"error\""));
    let place = server.place.clone();
    server.wait().unwrap();
    assert!(TcpStream::connect(place).is_err());
    drop(idle);
}

#[test]
fn after_the_grace_answers_do_not_end_well() {
    let grace = Duration::ZERO;
    let (server, served) = Own::ready(ServerOptions {
        grace,
        ..ServerOptions::default()
    });
    let stream = long_stream(&server);
    let start = Instant::now();
    server.end();
    let rest = rest(stream);
    assert!(!rest.contains("[DONE]"), "{}", rest);
    let is_broken = !rest.ends_with("0\r\n\r\n");
    assert!(is_broken || rest.contains("\"error\""), "{}", rest);
    server.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!served.scheduler.is_open());
}

#[test]
fn a_model_that_cannot_be_run_any_more_ends_the_server() {
    let (server, served) = Own::ready(ServerOptions::default());
    served.scheduler.stop();
    assert_eq!(server.ask("GET /health", &[], "").json()["status"], "failed");
    assert!(matches!(server.wait(), Err(ServerError::Failed)));
}

#[test]
fn other_machines_need_a_key() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    let bind = |host: &str, keys: &[&str], no_key: bool| {
        runtime.block_on(Server::bind(ServerOptions {
            host: host.to_owned(),
            port: 0,
            keys: texts(keys),
            no_key,
            ..ServerOptions::default()
        }))
    };
    let problem = bind("0.0.0.0", &[], false).err().unwrap().to_string();
    for way in ["--api-key-file", "BISE_API_KEY", "--no-key"] {
        assert!(problem.contains(way), "{problem}");
    }
    assert!(bind("0.0.0.0", &["a"], false).is_ok());
    assert!(bind("0.0.0.0", &[], true).is_ok());
    for host in ["127.0.0.1", "localhost", "127.0.0.2"] {
        assert!(bind(host, &[], false).is_ok(), "{host}");
    }
}

#[test]
fn what_happens_is_measured() {
    let (server, _served) = Own::ready(ServerOptions::default());
    assert_eq!(server.ask("POST /chat/completions", &[], CHAT).status, 200);
    assert_eq!(server.ask("GET /nothing", &[], "").status, 404);
    let reply = server.ask("GET /metrics", &[], "");
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for words in [
        "bise_requests_total{path=\"/v1/chat/completions\",status=\"200\"} ",
        "bise_requests_total{path=\"other\",status=\"404\"} ",
        "bise_request_seconds_bucket{path=\"/v1/chat/completions\",le=\"0.001\"} ",
        "# TYPE bise_prompt_tokens_total counter",
        "# HELP bise_cached_tokens_total ",
        "bise_generated_tokens_total ",
        "bise_first_token_seconds_bucket{le=",
        "bise_pass_seconds_bucket{le=",
        "bise_pass_rows_bucket{le=\"512\"} ",
        "bise_running_answers ",
        "bise_waiting_answers ",
        "bise_kv_bytes ",
    ] {
        assert!(reply.body.contains(words), "{words}: {}", reply.body);
    }
    assert!(
        !reply.body.contains("nothing"),
        "paths that anybody can make up are not kept"
    );
}

/// All references in a description.
fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_is_complete() {
    let keys = texts(&["secret"]);
    let (server, _served) = Own::ready(ServerOptions {
        keys,
        ..ServerOptions::default()
    });
    let key = "Authorization: Bearer secret";
    let all = server.ask("GET /openapi.json", &[key], "").json();
    assert_eq!(all["info"]["title"], "bise");
    assert_eq!(all["security"], json!([{"key": []}]));
    let mut found = Vec::new();
    references(&all, &mut found);
    for reference in found {
        let path = reference.strip_prefix('#').unwrap();
        assert!(all.pointer(path).is_some(), "{reference} leads nowhere");
    }
    let paths = all["paths"].as_object().unwrap();
    for path in [
        "/health",
        "/metrics",
        "/openapi.json",
        "/v1/chat/completions",
        "/v1/models",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let mut names = BTreeSet::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["tags"][0].is_string(), "{method} {path}");
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{name} is the name of two");
            let responses = operation["responses"].as_object().unwrap();
            let known = |status: &str| {
                let range = format!("{}XX", &status[..1]);
                responses.contains_key(status) || responses.contains_key(&range)
            };
            let key = if path == "/health" { "200" } else { "401" };
            let body = if operation["requestBody"].is_null() {
                "500"
            } else {
                "413"
            };
            for status in ["200", "403", "503", key, body] {
                assert!(known(status), "{method} {path} {status}");
            }
        }
    }
    assert_eq!(paths["/health"]["get"]["security"], json!([{}]));
}
