//! Tools that are called.

use crate::common::{Running, Setup, with_control_tokens};
use crate::{CHAT, asks, with};
use bise_format::tekken_metadata;
use bise_model::tokenizer::Vocabulary;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;

fn setup(template: &'static str) -> Setup {
    let mut setup = Setup {
        template,
        vocabulary: with_control_tokens,
        ..Setup::default()
    };
    setup.scheduler.context = 2048;
    setup
}

fn tools() -> Value {
    let weather = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 8},
            "days": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["city", "days"], "additionalProperties": false,
    });
    // With a definition that is referred to, and without a type.
    let paint = json!({
        "$defs": {"Color": {"enum": ["red", "blue"]}}, "properties": {"color": {"$ref": "#/$defs/Color"}},
        "required": ["color"], "additionalProperties": false,
    });
    json!([
        {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": weather}},
        {"type": "function", "function": {"name": "paint-it", "parameters": paint, "strict": true}},
    ])
}

/// A request that must call tools, with room for what it writes.
fn must(more: Value) -> Value {
    let must = json!({"tools": tools(), "tool_choice": "required", "parallel_tool_calls": false, "max_tokens": 400});
    asks(with(must, more))
}

/// Whether a call is as its tool wants it.
fn check(call: &Value) {
    assert_eq!(call["type"], "function");
    let id = call["id"].as_str().unwrap();
    assert!(
        id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        "{call}"
    );
    let arguments = call["function"]["arguments"].as_str().unwrap();
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    match call["function"]["name"].as_str().unwrap() {
        "weather" => {
            assert!(arguments["city"].as_str().unwrap().chars().count() <= 8);
            assert!((0..=9).contains(&arguments["days"].as_i64().unwrap()));
        }
        "paint-it" => assert!(["red", "blue"].contains(&arguments["color"].as_str().unwrap())),
        other => panic!("{other}"),
    }
}

/// Calls that are required are made, and go into the conversation that goes on.
fn calls_are_made(server: &Running) {
    let named = json!({"type": "function", "function": {"name": "paint-it"}});
    for (choice, seed) in [(json!("required"), 1), (json!("any"), 2), (named.clone(), 3)] {
        let answer = server.answered(CHAT, &must(json!({"tool_choice": choice, "seed": seed})));
        let found = &answer["choices"][0];
        assert_eq!(found["finish_reason"], "tool_calls", "{answer}");
        let message = &found["message"];
        assert!(message["content"].is_null(), "{message}");
        let calls = message["tool_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 1);
        check(&calls[0]);
        if choice == named {
            assert_eq!(calls[0]["function"]["name"], "paint-it");
        }
        let chunks = server.chunks(CHAT, &must(json!({"tool_choice": choice, "seed": seed})));
        let deltas: Vec<&Value> = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"].get("tool_calls"))
            .collect();
        let mut expected = calls[0].clone();
        expected["index"] = 0.into();
        assert_eq!(deltas, [&json!([expected])]);
        assert_eq!(
            chunks[chunks.len() - 1]["choices"][0]["finish_reason"],
            "tool_calls"
        );
        // The result comes back as clients send it: with the message as it was.
        let result =
            json!({"role": "tool", "tool_call_id": calls[0]["id"], "content": "{\"ok\": true}"});
        let mut messages = asks(json!({}))["messages"].clone();
        messages.as_array_mut().unwrap().extend([message.clone(), result]);
        let answer = server.answered(CHAT, &asks(json!({"messages": messages, "tools": tools()})));
        assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 20);
    }
}

#[test]
fn required_calls_are_made_in_all_formats() {
    for template in ["v2", "v3", "v7", "v11", "v13", "v15"] {
        calls_are_made(&setup(template).run());
    }
}

/// The words of calls are read off what a Jinja template writes.
#[test]
fn required_calls_are_made_by_jinja_templates() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/chat/templates.json");
    let all: Value = serde_json::from_slice(&std::fs::read(fixtures).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for name in ["v3", "v7", "v11-tekken", "v13-tekken"] {
        let path = directory.path().join(name);
        std::fs::write(&path, all[name].as_str().unwrap()).unwrap();
        calls_are_made(&setup(Box::leak(path.display().to_string().into_boxed_str())).run());
    }
}

/// The first tokens of a tekken vocabulary, with control tokens.
fn tekken(vocabulary: &mut Vocabulary) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/chat");
    let file = std::fs::File::open(fixtures.join("tekken.json.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let mut tekken: Value = serde_json::from_str(&text).unwrap();
    let names = std::fs::read(fixtures.join("vocabularies.json")).unwrap();
    let names: Value = serde_json::from_slice(&names).unwrap();
    let names = names["special_tokens"]["v13"].as_array().unwrap();
    let special = |(rank, name)| json!({"rank": rank, "token_str": name, "is_control": true});
    tekken["special_tokens"] = names.iter().enumerate().map(special).collect();
    tekken["config"]["version"] = "v13".into();
    tekken["config"]["default_num_special_tokens"] = 64.into();
    tekken["config"]["default_vocab_size"] = 1024.into();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tekken.json");
    std::fs::write(&path, tekken.to_string()).unwrap();
    *vocabulary = Vocabulary::from_metadata(&tekken_metadata(&path).unwrap()).unwrap();
}

#[test]
fn required_calls_are_made_in_tekken_vocabularies() {
    for template in ["v7", "v11", "v13"] {
        let setup = Setup {
            vocabulary: tekken,
            ..setup(template)
        };
        calls_are_made(&setup.run());
    }
}

/// Several calls come where they may.
#[test]
fn calls_come_in_parallel() {
    for template in ["v3", "v13"] {
        let server = setup(template).run();
        let many = (0..40).find_map(|seed| {
            let named = json!({"type": "function", "function": {"name": "paint-it"}});
            let more = json!({"seed": seed, "tool_choice": named, "parallel_tool_calls": null});
            let answer = server.answered(CHAT, &must(more));
            let calls = answer["choices"][0]["message"]["tool_calls"].as_array()?.clone();
            (calls.len() > 1).then_some(calls)
        });
        for call in many.unwrap() {
            check(&call);
        }
    }
}

/// Where tools may be called, a schema says what is said instead.
#[test]
fn calls_or_json() {
    let server = setup("v7").run();
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let calls = server.served.tokenizer.token("[TOOL_CALLS]").unwrap().to_string();
    let ask = |bias: f64| {
        let more = json!({"tool_choice": "auto", "response_format": format, "logit_bias": {calls.clone(): bias}});
        server.answered(CHAT, &must(more))["choices"][0].clone()
    };
    let called = ask(100.0);
    check(&called["message"]["tool_calls"][0]);
    let said = ask(-100.0);
    assert_eq!(said["finish_reason"], "stop");
    let json: Value = serde_json::from_str(said["message"]["content"].as_str().unwrap()).unwrap();
    assert!(json["a"].is_boolean());
}

/// Tools that must not be called are not shown.
#[test]
fn none_is_as_if_there_were_no_tools() {
    let server = setup("v7").run();
    let none = server.answered(CHAT, &asks(json!({"tools": tools(), "tool_choice": "none"})));
    let without = server.answered(CHAT, &asks(json!({})));
    assert_eq!(none["choices"], without["choices"]);
    let shown = server.answered(CHAT, &asks(json!({"tools": tools()})));
    let tokens = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(tokens(&none), tokens(&without));
    assert!(tokens(&shown) > tokens(&without) + 50);
}

/// Ids of other servers are taken too, in formats that know only their own.
#[test]
fn ids_of_others_are_taken() {
    for template in ["v3", "v7", "v11", "v13"] {
        let server = setup(template).run();
        let call = json!({"id": "call_12345", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}});
        let messages = json!([
            {"role": "user", "content": "How is it?"},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_12345", "content": [{"type": "text", "text": "fine"}]},
        ]);
        server.answered(CHAT, &asks(json!({"messages": messages, "tools": tools()})));
    }
}
