//! Answers that follow a grammar.

use crate::common::Setup;
use crate::{CHAT, TEXT, asks, with};
use serde_json::{Value, json};

#[test]
fn answers_follow_what_they_are_told() {
    let server = Setup::default().run();
    let say = |more: Value| {
        let answer = server.answered(CHAT, &asks(with(json!({"max_tokens": 300}), more)));
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "stop", "{choice}");
        choice["message"]["content"].as_str().unwrap().to_owned()
    };
    // As pydantic and zod write them.
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "title": "Fox", "type": "object",
        "properties": {
            "name": {"title": "Name", "type": "string", "maxLength": 10},
            "age": {"type": "integer", "minimum": 0, "maximum": 20},
            "kind": {"enum": ["red", "grey"]},
        },
        "required": ["name", "age", "kind"], "additionalProperties": false,
    });
    for more in [
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "fox", "schema": schema, "strict": true}}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}),
        json!({"response_format": {"type": "json_object", "schema": schema}}),
        json!({"guided_json": schema}),
        json!({"guided_json": schema.to_string()}),
    ] {
        let fox: Value = serde_json::from_str(&say(more)).unwrap();
        assert!(fox["name"].as_str().unwrap().chars().count() <= 10, "{fox}");
        assert!((0..=20).contains(&fox["age"].as_i64().unwrap()), "{fox}");
        assert!(["red", "grey"].contains(&fox["kind"].as_str().unwrap()), "{fox}");
        assert_eq!(fox.as_object().unwrap().len(), 3);
    }
    // What a tiny model has to say may never end.
    let long = json!({"response_format": {"type": "json_object"}, "max_tokens": 20});
    let answer = server.answered(CHAT, &asks(long));
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.trim_start().starts_with('{'), "{text}");
    for more in [
        json!({"regex": "(yes|no)!"}),
        json!({"guided_regex": "(yes|no)!"}),
        json!({"grammar": "root ::= (\"yes\" | \"no\") \"!\""}),
        json!({"grammar": "start: (\"yes\" | \"no\") \"!\""}),
    ] {
        let text = say(more);
        assert!(["yes!", "no!"].contains(&text.as_str()), "{text}");
    }
    let body = json!({"prompt": "Is it?", "regex": " (yes|no)!", "n": 3});
    for choice in server.answered(TEXT, &body)["choices"].as_array().unwrap() {
        assert!([" yes!", " no!"].contains(&choice["text"].as_str().unwrap()));
    }
}
