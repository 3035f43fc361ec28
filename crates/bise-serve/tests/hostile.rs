//! Bodies that nobody should send: whatever they say, the answer is an answer or names a fault of
//! the client's, and the server goes on.
//!
//! `BISE_BODIES=10000` sends as many; a tenth of that otherwise.

mod common;

use common::{Numbers, Running, Setup};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests that are answered, to begin with.
fn sound() -> Vec<(&'static str, Value)> {
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Once"}, {"type": "text", "text": "upon"}]},
        {"role": "assistant", "content": "a time"},
        {"role": "user", "content": "there"}
    ]);
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    vec![
        (
            "/v1/chat/completions",
            json!({"model": "tiny", "messages": messages, "max_tokens": 4, "temperature": 0.5, "top_p": 0.9,
                "seed": 7, "stop": ["x"], "n": 2, "logprobs": true, "top_logprobs": 2, "stream": false,
                "logit_bias": {"5": 1.5}, "presence_penalty": 0.5, "frequency_penalty": 0.5}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "max_tokens": 8, "stream": true,
                "stream_options": {"include_usage": true},
                "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}),
        ),
        (
            "/v1/completions",
            json!({"prompt": ["Once upon", "A dog"], "max_tokens": 4, "echo": false, "logprobs": 2}),
        ),
        (
            "/v1/completions",
            json!({"prompt": [1, 40, 41], "max_tokens": 3, "top_k": 5}),
        ),
        (
            "/v1/embeddings",
            json!({"input": ["a", "b"], "encoding_format": "base64"}),
        ),
        (
            "/api/chat",
            json!({"model": "tiny", "messages": [{"role": "user", "content": "Once"}], "stream": false,
                "options": {"num_predict": 4, "temperature": 0, "seed": 3, "stop": ["."]}, "format": "json"}),
        ),
        (
            "/api/generate",
            json!({"model": "tiny", "prompt": "Once upon", "options": {"num_predict": 4}, "stream": true}),
        ),
        ("/api/show", json!({"model": "tiny"})),
        ("/api/embed", json!({"model": "tiny", "input": ["a"]})),
        (
            "/v1/messages",
            json!({"model": "tiny", "max_tokens": 4, "system": "Be brief.", "stop_sequences": ["x"],
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Once"}]}]}),
        ),
        (
            "/v1/messages/count_tokens",
            json!({"model": "tiny", "messages": [{"role": "user", "content": "Once"}]}),
        ),
        (
            "/v1/fim/completions",
            json!({"prompt": "fn a(", "suffix": "}", "max_tokens": 3}),
        ),
        ("/tokenize", json!({"content": "Once upon a time"})),
        ("/detokenize", json!({"tokens": [40, 41]})),
        (
            "/apply-template",
            json!({"messages": [{"role": "user", "content": "Once"}]}),
        ),
        (
            "/completion",
            json!({"prompt": "Once", "n_predict": 3, "temperature": 0}),
        ),
    ]
}

/// Values that do not belong there.
fn strange(numbers: &mut Numbers) -> Value {
    let all = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(""),
        json!("x".repeat(3000)),
        json!("\u{0}\u{feff}\u{1f43a}"),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!({"a": {"a": {"a": {}}}}),
        json!(["a", 1, null]),
        json!(vec![7; 300]),
        json!("NaN"),
        json!("999999999999999999999999"),
    ];
    all[numbers.below(all.len())].clone()
}

/// Changes one place of a value.
fn mutate(value: &mut Value, numbers: &mut Numbers) {
    match value {
        Value::Object(map) if !map.is_empty() && numbers.below(5) > 0 => {
            let key = map.keys().nth(numbers.below(map.len())).unwrap().clone();
            match numbers.below(6) {
                0 => {
                    map.remove(&key);
                }
                1 => {
                    let taken = map.remove(&key).unwrap();
                    map.insert(format!("{key}s"), taken);
                }
                _ => mutate(&mut map[&key], numbers),
            }
        }
        Value::Array(list) if !list.is_empty() && numbers.below(5) > 0 => {
            let i = numbers.below(list.len());
            match numbers.below(6) {
                0 => {
                    list.remove(i);
                }
                1 => {
                    let again = list[i].clone();
                    list.extend(std::iter::repeat_n(again, numbers.below(40)));
                }
                _ => mutate(&mut list[i], numbers),
            }
        }
        other => *other = strange(numbers),
    }
}

/// The bytes of a body, of which some may be changed too.
fn body(sound: &Value, numbers: &mut Numbers) -> Vec<u8> {
    let mut value = sound.clone();
    for _ in 0..1 + numbers.below(3) {
        mutate(&mut value, numbers);
    }
    let mut bytes = value.to_string().into_bytes();
    if numbers.below(4) == 0 && !bytes.is_empty() {
        let at = numbers.below(bytes.len());
        match numbers.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at] = numbers.below(256) as u8,
            2 => {
                bytes.insert(at, numbers.below(256) as u8);
            }
            _ => {
                bytes.splice(at..at, *b"{\"a\":[");
            }
        }
    }
    bytes
}

fn send_all(server: &Running, count: usize) {
    let (next, sound) = (AtomicUsize::new(0), sound());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        break;
                    }
                    let mut numbers = Numbers(i as u64);
                    let (path, value) = &sound[i % sound.len()];
                    let body = body(value, &mut numbers);
                    let answer = server.post_bytes(path, &body);
                    if answer.as_ref().map_or(true, |(status, _)| *status >= 500) {
                        let body = String::from_utf8_lossy(&body).into_owned();
                        wrong.lock().unwrap().push(format!("{path} {body}: {answer:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} bodies: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

#[test]
fn no_body_breaks_the_server() {
    let mut setup = Setup::default();
    setup.scheduler.context = 96;
    let server = setup.run();
    for (path, body) in sound() {
        let (status, text) = server.post_text(path, &body.to_string());
        // The story teller has no words for gaps.
        let expected = if path.contains("fim") { 400 } else { 200 };
        assert_eq!(status, expected, "{path} {body}: {text}");
    }
    let count = std::env::var("BISE_BODIES").map_or(1000, |count| count.parse().unwrap());
    send_all(&server, count);
    assert_eq!(server.get("/health").0, 200);
    // Nothing is left behind.
    let start = std::time::Instant::now();
    while server.served.scheduler.load().running > 0 {
        assert!(
            start.elapsed().as_secs() < 20,
            "{:?}",
            server.served.scheduler.load()
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
