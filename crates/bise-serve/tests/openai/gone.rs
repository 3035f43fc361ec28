//! Clients that go away, too many at a time, and answers that cannot be written.

use crate::common::{Running, Setup};
use crate::{CHAT, TEXT, asks};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Whether nothing is written any more, soon.
fn is_idle(server: &Running) -> bool {
    let start = Instant::now();
    while server.served.scheduler.load().running > 0 {
        if start.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// A client that goes away in the middle frees what was taken for it, whether it reads a stream
/// or waits for the whole.
#[test]
fn who_goes_away_is_forgotten() {
    let mut setup = Setup::default();
    setup.scheduler.context = 1 << 20;
    let server = setup.run();
    let address = server.url.strip_prefix("http://").unwrap();
    for (path, stream) in [(CHAT, false), (CHAT, true), (TEXT, false), (TEXT, true)] {
        let body = json!({
            "messages": [{"role": "user", "content": "Go on."}], "prompt": ["a", "b"], "n": 2, "ignore_eos": true,
            "stream": stream,
        });
        let body = body.to_string();
        let mut client = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all((head + &body).as_bytes()).unwrap();
        while server.served.scheduler.load().running == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if stream {
            client.read_exact(&mut [0; 1000]).unwrap();
        }
        assert!(server.served.scheduler.load().running > 0);
        drop(client);
        assert!(is_idle(&server), "{path} {stream}");
    }
}

/// The response of a server on which as many wait as may: none.
#[test]
fn too_many_are_told_when_to_come_again() {
    let mut setup = Setup::default();
    setup.scheduler.queue = 0;
    let server = setup.run();
    let bodies = [
        (CHAT, asks(json!({}))),
        (CHAT, asks(json!({"stream": true}))),
        (TEXT, json!({"prompt": "a"})),
        ("/v1/embeddings", json!({"input": "a"})),
    ];
    for (path, body) in bodies {
        let request = ureq::post(format!("{}{path}", server.url)).config();
        let request = request.http_status_as_error(false).build();
        let mut response = request.send_json(&body).unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "1");
        let answer: Value = response.body_mut().read_json().unwrap();
        assert_eq!(answer["error"]["code"], "queue_full");
    }
}

/// An answer that cannot go on is an error: a status, or an event of a stream that then ends.
#[test]
fn a_fault_is_told_in_a_stream_too() {
    let mut setup = Setup::default();
    setup.engine.kv_memory = 1 << 17;
    let server = setup.run();
    for path in [CHAT, TEXT] {
        let mut body = asks(json!({"max_tokens": 500, "ignore_eos": true, "prompt": "Once"}));
        let (status, answer) = server.post(path, &body);
        assert_eq!(status, 500, "{answer}");
        assert_eq!(answer["error"]["type"], "server_error");
        body["stream"] = true.into();
        let lines = server.stream(path, &body);
        let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        assert_eq!(last["error"]["type"], "server_error", "{last}");
        assert!(last.get("choices").is_none());
    }
}
