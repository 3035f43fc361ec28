//! Anthropic's interface.

mod common;

use common::{Running, Setup, thinking, with_control_tokens};
use serde_json::{Value, json};

const PATH: &str = "/v1/messages";

fn body() -> Value {
    json!({
        "model": "tiny",
        "max_tokens": 24,
        "messages": [{"role": "user", "content": "Once upon a time"}],
        "temperature": 0,
    })
}

fn with(fields: Value) -> Value {
    let mut body = body();
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

fn answered(server: &Running, body: &Value) -> Value {
    let (status, answer) = server.post(PATH, body);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Names and data of the events of a stream.
fn events(server: &Running, body: &Value) -> Vec<(String, Value)> {
    let mut body = body.clone();
    body["stream"] = true.into();
    let (status, text) = server.post_text(PATH, &body.to_string());
    assert_eq!(status, 200, "{text}");
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    text.trim_end().split("\n\n").map(event).collect()
}

/// The message that the events of a stream make, as clients put it together.
fn joined(events: &[(String, Value)]) -> Value {
    let mut message = json!(null);
    for (name, event) in events {
        assert_eq!(event["type"], *name);
        let at = event["index"].as_u64().unwrap_or(0) as usize;
        match name.as_str() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let parts = message["content"].as_array_mut().unwrap();
                assert_eq!(parts.len(), at);
                parts.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let (part, delta) = (&mut message["content"][at], &event["delta"]);
                let (field, more) = match delta["type"].as_str().unwrap() {
                    "text_delta" => ("text", &delta["text"]),
                    "thinking_delta" => ("thinking", &delta["thinking"]),
                    _ => {
                        let json = delta["partial_json"].as_str().unwrap();
                        part["input"] = serde_json::from_str(json).unwrap();
                        continue;
                    }
                };
                let said = part[field].as_str().unwrap().to_owned() + more.as_str().unwrap();
                part[field] = said.into();
            }
            "content_block_stop" => {
                assert_eq!(at + 1, message["content"].as_array().unwrap().len())
            }
            "message_delta" => {
                for field in ["stop_reason", "stop_sequence"] {
                    message[field] = event["delta"][field].clone();
                }
                message["usage"] = event["usage"].clone();
            }
            _ => assert_eq!(name, "message_stop"),
        }
    }
    message
}

/// What differs from one time to the next: the name, and what was known of the prompt.
fn without_chance(mut message: Value) -> Value {
    message["id"] = "".into();
    let usage = message["usage"].as_object_mut().unwrap();
    let known = usage.remove("cache_read_input_tokens").unwrap().as_u64().unwrap();
    usage["input_tokens"] = (usage["input_tokens"].as_u64().unwrap() + known).into();
    message
}

fn check_stream(server: &Running, body: &Value) -> Value {
    let answer = answered(server, body);
    let events = events(server, body);
    assert_eq!(events[0].0, "message_start");
    assert_eq!(events.last().unwrap().0, "message_stop");
    assert_eq!(without_chance(joined(&events)), without_chance(answer.clone()));
    answer
}

#[test]
fn an_answer_in_pieces_is_the_answer_at_once() {
    let server = Setup::default().run();
    let answer = check_stream(&server, &body());
    for (field, expected) in [
        ("type", json!("message")),
        ("role", "assistant".into()),
        ("model", "tiny".into()),
        ("stop_reason", "max_tokens".into()),
        ("stop_sequence", json!(null)),
    ] {
        assert_eq!(answer[field], expected, "{field}");
    }
    assert!(answer["id"].as_str().unwrap().starts_with("msg"));
    assert_eq!(answer["content"].as_array().unwrap().len(), 1);
    assert_eq!(answer["content"][0]["type"], "text");
    assert_eq!(answer["usage"]["output_tokens"], 24);
    assert_eq!(answer["usage"]["cache_creation_input_tokens"], 0);

    let (status, count) = server.post("/v1/messages/count_tokens", &body());
    assert_eq!(status, 200);
    let again = answered(&server, &body());
    let (read, known) = (
        &again["usage"]["input_tokens"],
        &again["usage"]["cache_read_input_tokens"],
    );
    assert!(known.as_u64().unwrap() > 0);
    assert_eq!(
        count["input_tokens"],
        read.as_u64().unwrap() + known.as_u64().unwrap()
    );
}

#[test]
fn stops_end_an_answer() {
    let server = Setup::default().run();
    let all = answered(&server, &body());
    let all = all["content"][0]["text"].as_str().unwrap();
    let stop = &all[6..10];
    let answer = check_stream(&server, &with(json!({"stop_sequences": [stop]})));
    assert_eq!(answer["stop_reason"], "stop_sequence");
    assert_eq!(answer["stop_sequence"], stop);
    assert_eq!(answer["content"][0]["text"], all[..all.find(stop).unwrap()]);
    let none = answered(&server, &with(json!({"max_tokens": 0})));
    assert_eq!(
        (&none["content"], &none["usage"]["output_tokens"]),
        (&json!([]), &json!(0))
    );
}

/// What is said in several ways is the same.
#[test]
fn texts_and_parts_of_texts() {
    let server = Setup {
        template: "v7",
        vocabulary: with_control_tokens,
        ..Setup::default()
    }
    .run();
    let count = |fields: Value| {
        let (status, answer) = server.post("/v1/messages/count_tokens", &with(fields));
        assert_eq!(status, 200, "{answer}");
        answer["input_tokens"].as_u64().unwrap()
    };
    let part =
        |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    let plain = count(json!({"system": "Be brief."}));
    assert!(plain > count(json!({})));
    assert_eq!(count(json!({"system": [part("Be brief.")]})), plain);
    let parts = json!([{"role": "user", "content": [part("Once upon a time")]}]);
    assert_eq!(count(json!({"system": "Be brief.", "messages": parts})), plain);
    let system = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Once upon a time"}]);
    assert_eq!(count(json!({"messages": system})), plain);
}

/// An answer at the end goes on.
#[test]
fn an_answer_is_begun() {
    let server = Setup {
        template: "v3",
        vocabulary: with_control_tokens,
        ..Setup::default()
    }
    .run();
    let begun = json!([
        {"role": "user", "content": "Once upon a time"},
        {"role": "assistant", "content": "There was a"},
    ]);
    let answer = check_stream(&server, &with(json!({"messages": begun})));
    assert!(
        !answer["content"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("There was a")
    );
    let open = server
        .post("/v1/messages/count_tokens", &with(json!({"messages": begun})))
        .1;
    let usual = server.post("/v1/messages/count_tokens", &body()).1;
    assert!(open["input_tokens"].as_u64() > usual["input_tokens"].as_u64());
}

fn tools() -> Value {
    let color = json!({
        "type": "object", "properties": {"color": {"enum": ["red", "blue"]}},
        "required": ["color"], "additionalProperties": false,
    });
    let count = json!({
        "type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["n"], "additionalProperties": false,
    });
    json!([
        {"name": "paint", "description": "Paints.", "input_schema": color, "type": "custom"},
        {"name": "count", "input_schema": count, "cache_control": {"type": "ephemeral"}},
    ])
}

#[test]
fn tools_are_called_and_give_results() {
    for template in ["v3", "v11", "v13"] {
        let mut setup = Setup {
            template,
            vocabulary: with_control_tokens,
            ..Setup::default()
        };
        setup.scheduler.context = 2048;
        let server = setup.run();
        let must = |choice: Value| {
            with(json!({"tools": tools(), "tool_choice": choice, "max_tokens": 400}))
        };
        let any = json!({"type": "any", "disable_parallel_tool_use": true});
        for choice in [
            any,
            json!({"type": "tool", "name": "count", "disable_parallel_tool_use": true}),
        ] {
            let answer = check_stream(&server, &must(choice.clone()));
            assert_eq!(answer["stop_reason"], "tool_use", "{answer}");
            let parts = answer["content"].as_array().unwrap();
            assert_eq!(parts.len(), 1);
            let call = &parts[0];
            assert_eq!(call["type"], "tool_use");
            match call["name"].as_str().unwrap() {
                "paint" => assert!(call["input"]["color"].is_string()),
                name => assert!(name == "count" && call["input"]["n"].is_u64()),
            }
            if choice["type"] == "tool" {
                assert_eq!(call["name"], "count");
            }
            let result = |text: Value| json!({"type": "tool_result", "tool_use_id": call["id"], "content": text});
            let part = json!([{"type": "text", "text": "done"}]);
            let mut counts = Vec::new();
            for result in [result("done".into()), result(part)] {
                let messages = json!([
                    {"role": "user", "content": "Paint."},
                    {"role": "assistant", "content": answer["content"]},
                    {"role": "user", "content": [result]},
                ]);
                let body = with(json!({"messages": messages, "tools": tools()}));
                let (status, count) = server.post("/v1/messages/count_tokens", &body);
                assert_eq!(status, 200, "{count}");
                counts.push(count);
                answered(&server, &body);
            }
            assert_eq!(counts[0], counts[1]);
        }
        let count = |fields: Value| {
            let (_, count) = server.post("/v1/messages/count_tokens", &with(fields));
            count["input_tokens"].as_u64().unwrap()
        };
        let shown = count(json!({"tools": tools()}));
        let hidden = count(json!({"tools": tools(), "tool_choice": {"type": "none"}}));
        assert!(hidden < shown && hidden == count(json!({})));
    }
}

#[test]
fn answers_follow_a_schema() {
    let server = Setup {
        template: "v3",
        vocabulary: with_control_tokens,
        ..Setup::default()
    }
    .run();
    let schema = json!({
        "type": "object", "properties": {"name": {"enum": ["Tom", "Mia"]}},
        "required": ["name"], "additionalProperties": false,
    });
    let format = json!({"format": {"type": "json_schema", "schema": schema}, "effort": "high"});
    let answer = check_stream(&server, &with(json!({"output_config": format, "max_tokens": 60})));
    let said: Value = serde_json::from_str(answer["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(["Tom", "Mia"].contains(&said["name"].as_str().unwrap()));
    assert_eq!(answer["stop_reason"], "end_turn");
}

/// Thoughts are shown where they are asked for.
#[test]
fn thoughts_are_told_apart() {
    let mut shown = 0;
    for seed in 0..6 {
        let server = thinking(seed).run();
        let with = |thinking: Value| {
            with(json!({
                "thinking": thinking, "temperature": 1, "max_tokens": 40,
                "messages": [{"role": "user", "content": "Who?"}],
            }))
        };
        let all = check_stream(&server, &with(json!({"type": "enabled", "budget_tokens": 2000})));
        let text = |answer: &Value| {
            let parts = answer["content"].as_array().unwrap().iter();
            parts.filter_map(|part| part["text"].as_str()).collect::<String>()
        };
        let parts = all["content"].as_array().unwrap();
        shown += parts.iter().filter(|part| part["type"] == "thinking").count();
        for hidden in [json!({"type": "adaptive", "display": "omitted"}), json!(null)] {
            let answer = check_stream(&server, &with(hidden));
            assert_eq!(text(&answer), text(&all));
            let parts = answer["content"].as_array().unwrap();
            assert!(parts.iter().all(|part| part["type"] == "text"));
        }
    }
    assert!(shown > 0, "nothing was thought");
}

/// Thoughts come back in the next turn.
#[test]
fn thoughts() {
    let server = Setup {
        template: "v13",
        vocabulary: with_control_tokens,
        ..Setup::default()
    }
    .run();
    for thinking in [
        json!({"type": "enabled", "budget_tokens": 2000}),
        json!({"type": "adaptive", "display": "omitted"}),
        json!({"type": "disabled"}),
    ] {
        check_stream(&server, &with(json!({"thinking": thinking})));
    }
    let turn = |content: Value| {
        let messages = json!([
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": "Why?"},
        ]);
        let (status, count) =
            server.post("/v1/messages/count_tokens", &with(json!({"messages": messages})));
        assert_eq!(status, 200, "{count}");
        count["input_tokens"].as_u64().unwrap()
    };
    let text = json!({"type": "text", "text": "Me."});
    let thought = json!({"type": "thinking", "thinking": "I am it.", "signature": ""});
    let redacted = json!({"type": "redacted_thinking", "data": "x"});
    let plain = turn(json!([text]));
    assert!(turn(json!([thought, text])) > plain);
    assert_eq!(turn(json!([redacted, text])), plain);
}

/// Each with a word that the error must say.
#[test]
fn what_is_wrong_is_said() {
    let server = Setup {
        template: "v3",
        vocabulary: with_control_tokens,
        ..Setup::default()
    }
    .run();
    let message =
        |role: &str, content: Value| json!({"messages": [{"role": role, "content": content}]});
    let image = json!([{"type": "image", "source": {"type": "base64", "data": ""}}]);
    let result = json!({"type": "tool_result", "tool_use_id": "x", "content": image});
    let call = json!({"type": "tool_use", "id": "x", "name": "f", "input": "{}"});
    let text = json!({"type": "text", "text": "x"});
    let tool = |tool: Value| json!({"tools": [tool]});
    let object = json!({"type": "object"});
    for (fields, status, word) in [
        (json!({"max_tokens": null}), 400, "max_tokens"),
        (json!({"max_tokens": -1}), 400, "max_tokens: found -1"),
        (json!({"max_tokens": 1e30}), 400, "max_tokens: found 1e+30"),
        (json!({"messages": []}), 400, "at least one"),
        (json!({"messages": null}), 400, "messages"),
        (message("wizard", "hi".into()), 400, "`assistant`"),
        (message("user", 5.into()), 400, "a text or a list"),
        (
            message("user", image.clone()),
            400,
            "messages[0].content[0]: found a part of type \"image\"",
        ),
        (
            message("user", json!([result])),
            400,
            "messages[0].content[0].content[0]",
        ),
        (message("user", json!([{"type": "text"}])), 400, "without `text`"),
        (message("assistant", json!([call])), 400, "expected an object"),
        (
            message("assistant", json!([{"type": "tool_result", "tool_use_id": "x"}])),
            400,
            "a user's message",
        ),
        (
            message("user", json!([text, {"type": "tool_result", "tool_use_id": "x"}])),
            400,
            "expected it before",
        ),
        (json!({"system": [{"type": "image"}]}), 400, "system[0]"),
        (json!({"temperature": "x"}), 400, "temperature: found \"x\""),
        (json!({"top_p": 2}), 400, "top_p: found 2"),
        (json!({"top_k": -1}), 400, "top_k: found -1"),
        (json!({"stop_sequences": [5]}), 400, "stop_sequences[0]"),
        (json!({"thinking": {"type": "deep"}}), 400, "`enabled`"),
        (json!({"service_tier": "gold"}), 400, "`auto`"),
        (json!({"metadata": 5}), 400, "metadata"),
        (
            json!({"output_config": {"format": {"type": "xml"}}}),
            400,
            "json_schema",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": 5}}}}),
            400,
            "type",
        ),
        (json!({"mcp_servers": [{}]}), 400, "mcp_servers"),
        (tool(json!({"name": "f"})), 400, "tools[0].input_schema"),
        (
            tool(json!({"name": "a b", "input_schema": object})),
            400,
            "tools[0].name",
        ),
        (tool(json!({"name": "f", "input_schema": 5})), 400, "object"),
        (
            tool(json!({"name": "web_search", "type": "web_search_20250305"})),
            400,
            "no tools of its own",
        ),
        (json!({"tool_choice": {"type": "any"}}), 400, "no tools to call"),
        (json!({"tool_choice": {"type": "magic"}}), 400, "`none`"),
        (
            json!({"tools": tools(), "tool_choice": {"type": "tool", "name": "x"}}),
            400,
            "none of the tools",
        ),
        (
            json!({"tools": tools(), "tool_choice": {"type": "tool"}}),
            400,
            "tool_choice.name",
        ),
        (json!({"model": "other"}), 404, "other"),
        (
            message("user", "word ".repeat(2000).into()),
            400,
            "prompt is too long",
        ),
    ] {
        let (found, answer) = server.post(PATH, &with(fields.clone()));
        assert_eq!(found, status, "{fields}: {answer}");
        assert_eq!(answer["type"], "error");
        let kind = if status == 404 {
            "not_found_error"
        } else {
            "invalid_request_error"
        };
        assert_eq!(answer["error"]["type"], kind);
        let said = answer["error"]["message"].as_str().unwrap();
        assert!(said.contains(word), "{word}: {said}");
    }
}
