//! Mistral's texts with a gap.

mod common;

use common::{Running, Setup, with_control_tokens};
use serde_json::{Value, json};

const PATH: &str = "/v1/fim/completions";

fn server() -> Running {
    let vocabulary = with_control_tokens;
    Setup {
        vocabulary,
        ..Setup::default()
    }
    .run()
}

/// As Mistral's client sends it.
fn body() -> Value {
    json!({
        "model": "tiny", "prompt": "Once upon a time", "suffix": "The end.", "stream": false,
        "max_tokens": 16, "random_seed": 4, "temperature": null,
    })
}

#[test]
fn gaps_are_filled() {
    let server = server();
    let (status, answer) = server.post(PATH, &body());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert!(answer["id"].is_string() && answer["created"].is_u64() && answer["model"] == "tiny");
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["index"], &choice["finish_reason"]),
        (&json!(0), &json!("length"))
    );
    assert_eq!(choice["message"]["role"], "assistant");
    let ids = server
        .served
        .tokenizer
        .encode_infill(b"Once upon a time", b"The end.")
        .unwrap();
    let usage = &answer["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"]),
        (&json!(ids.len()), &json!(16))
    );
    assert_eq!(usage["total_tokens"], ids.len() + 16);

    let mut streamed = body();
    streamed["stream"] = true.into();
    let mut events = server.stream(PATH, &streamed);
    assert_eq!(events.pop().unwrap(), "[DONE]");
    let events: Vec<Value> = events.iter().map(|e| serde_json::from_str(e).unwrap()).collect();
    let delta = |event: &Value| {
        event["choices"][0]["delta"]["content"]
            .as_str()
            .map(str::to_owned)
    };
    let text: String = events.iter().filter_map(delta).collect();
    assert_eq!(choice["message"]["content"], text);
    let reasons: Vec<&Value> = events.iter().map(|e| &e["choices"][0]["finish_reason"]).collect();
    assert_eq!(reasons.iter().filter(|reason| reason.is_string()).count(), 1);
    // Its client cannot ask for it.
    assert_eq!(
        events.last().unwrap()["usage"]["total_tokens"],
        usage["total_tokens"]
    );
}

/// Without anything behind the gap, a text goes on.
#[test]
fn texts_go_on() {
    let server = server();
    let text = json!({"prompt": "Once upon a time", "max_tokens": 16, "seed": 4});
    let (_, plain) = server.post("/v1/completions", &text);
    for suffix in [json!(null), json!("")] {
        let mut body = body();
        body["suffix"] = suffix;
        let (_, answer) = server.post(PATH, &body);
        assert_eq!(
            answer["choices"][0]["message"]["content"],
            plain["choices"][0]["text"]
        );
    }
}

/// Each with a word that the error must say.
#[test]
fn what_is_wrong_is_said() {
    let server = server();
    for (field, value, status, param, word) in [
        ("prompt", json!(5), 400, "prompt", "string"),
        ("prompt", json!(null), 400, "prompt", "string"),
        ("max_tokens", json!(-3), 400, "max_tokens", "-3"),
        ("min_tokens", json!(3), 400, "min_tokens", "3"),
        ("random_seed", json!("x"), 400, "random_seed", "x"),
        ("model", json!("other"), 404, "model", "other"),
        (
            "prompt",
            "word ".repeat(2000).into(),
            400,
            "prompt",
            "prompt is too long",
        ),
    ] {
        let mut body = body();
        body[field] = value;
        let (found, answer) = server.post(PATH, &body);
        assert_eq!(found, status, "{answer}");
        let error = &answer["error"];
        assert!(error["message"].as_str().unwrap().contains(word), "{answer}");
        assert_eq!(error["param"], param, "{answer}");
    }
    let server = Setup::default().run();
    let (status, answer) = server.post(PATH, &body());
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("suffix")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("[SUFFIX]"));
}
