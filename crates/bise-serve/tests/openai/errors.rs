//! What is refused, and how.

use crate::common::{Running, Setup, with_control_tokens};
use crate::{CHAT, TEXT, asks};
use serde_json::{Value, json};

/// Where the fault is, and a word of what is said.
type Case = (Value, &'static str, &'static str);

fn refused(server: &Running, path: &str, body: &str, param: &str, word: &str) {
    let (status, answer) = server.post_text(path, body);
    assert_eq!(status, 400, "{body}: {answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let error = &answer["error"];
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(error["param"].as_str().unwrap_or(""), param, "{body}: {error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(word), "{body}: {message}");
}

/// Numbers that are none, or out of range, as they are written.
#[test]
fn numbers() {
    let server = Setup::default().run();
    for (path, field, written, expected) in [
        (CHAT, "max_tokens", "0", "at least 1"),
        (CHAT, "max_tokens", "-2", "at least 1"),
        (CHAT, "max_completion_tokens", "1.5", "at least 1"),
        (
            CHAT,
            "max_tokens",
            "123456789012345678901234567890",
            "whole number",
        ),
        (CHAT, "temperature", "-0.1", "from 0 to 100"),
        (CHAT, "temperature", "1e400", "from 0 to 100"),
        (CHAT, "temperature", "\"hot\"", "a number"),
        (CHAT, "temperature", "[1]", "a number"),
        (CHAT, "top_p", "1.01", "from 0 to 1"),
        (CHAT, "min_p", "true", "from 0 to 1"),
        (CHAT, "typical_p", "-1", "from 0 to 1"),
        (CHAT, "top_k", "-2", "whole number from -1"),
        (CHAT, "top_k", "1e10", "whole number from -1"),
        (CHAT, "n", "0", "from 1 to 128"),
        (CHAT, "n", "129", "from 1 to 128"),
        (CHAT, "seed", "9223372036854775808", "whole number"),
        (CHAT, "seed", "0.5", "whole number"),
        (CHAT, "random_seed", "\"1\"", "whole number"),
        (CHAT, "top_logprobs", "21", "from 0 to 20"),
        (CHAT, "presence_penalty", "2.5", "from -2 to 2"),
        (CHAT, "frequency_penalty", "-3", "from -2 to 2"),
        (CHAT, "repeat_last_n", "-2", "from -1"),
        (TEXT, "max_tokens", "-2", "at least 0"),
        (TEXT, "logprobs", "-1", "from 0 to 20"),
        (TEXT, "best_of", "0", "from 1"),
    ] {
        let body = format!(
            "{{\"messages\": [{{\"role\": \"user\", \"content\": \"a\"}}], \"prompt\": \"a\", \"{field}\": {written}}}"
        );
        refused(&server, path, &body, field, &format!("found {written}, expected"));
        refused(&server, path, &body, field, expected);
    }
    refused(
        &server,
        TEXT,
        "{\"prompt\": \"a\", \"temperature\": NaN}",
        "temperature",
        "expected value",
    );
}

#[test]
fn chats() {
    let server = Setup {
        template: "v7",
        vocabulary: with_control_tokens,
        ..Setup::default()
    };
    let server = server.run();
    let says = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let tool = |function: Value| json!({"tools": [{"type": "function", "function": function}]});
    let cases: Vec<Case> = vec![
        (json!({"messages": []}), "messages", "at least one"),
        (json!({"messages": null}), "messages", "expected a sequence"),
        (json!({"messages": "a"}), "messages", "expected a sequence"),
        (
            json!({"messages": [{"content": "a"}]}),
            "messages[0]",
            "missing field `role`",
        ),
        (
            json!({"messages": [{"role": "robot", "content": "a"}]}),
            "messages[0].role",
            "robot",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages[0].content",
            "there is no content",
        ),
        (
            json!({"messages": [{"role": "assistant", "content": "a"}]}),
            "messages[0]",
            "the last message",
        ),
        (says(Value::Null), "messages[0].content", "there is no content"),
        (says(json!(5)), "messages[0].content", "list of parts"),
        (says(json!(["a"])), "messages[0].content[0]", "expected"),
        (
            says(json!([{"type": "text"}])),
            "messages[0].content[0]",
            "without a `text`",
        ),
        (
            says(json!([{"type": "image_url", "image_url": {"url": "x"}}])),
            "messages[0].content[0]",
            "text alone",
        ),
        (
            says(json!([{"type": "input_audio"}])),
            "messages[0].content[0]",
            "text alone",
        ),
        (json!({"stream": "yes"}), "stream", "expected a boolean"),
        (json!({"stream_options": true}), "stream_options", "expected"),
        (json!({"stop": 5}), "stop", "expected a text"),
        (json!({"stop": [1]}), "stop[0]", "expected a string"),
        (json!({"stop": vec!["a"; 17]}), "stop", "at most 16"),
        (json!({"stop": "a".repeat(1001)}), "stop", "at most 1000"),
        (json!({"logit_bias": {"a": 1}}), "logit_bias", "\"a\""),
        (
            json!({"logit_bias": {"5": 101}}),
            "logit_bias.5",
            "from -100 to 100",
        ),
        (json!({"logit_bias": {"5000": 1}}), "logit_bias", "5000"),
        (json!({"logit_bias": [[5, 1]]}), "logit_bias", "expected a map"),
        (json!({"repeat_penalty": 0}), "repeat_penalty", "positive"),
        (json!({"top_logprobs": 3}), "top_logprobs", "logprobs"),
        (json!({"logprobs": 3}), "logprobs", "expected a boolean"),
        (json!({"audio": {"voice": "x"}}), "audio", "not supported"),
        (json!({"modalities": ["text", "audio"]}), "modalities", "audio"),
        (json!({"functions": []}), "functions", "tools"),
        (json!({"function_call": "auto"}), "function_call", "tool_choice"),
        (
            json!({"web_search_options": {}}),
            "web_search_options",
            "not supported",
        ),
        (
            json!({"prediction": {"type": "content"}}),
            "prediction",
            "not supported",
        ),
        (json!({"reasoning_effort": "high"}), "reasoning_effort", "v15"),
        (
            json!({"reasoning_effort": "very"}),
            "reasoning_effort",
            "expected one of",
        ),
        (
            json!({"chat_template_kwargs": {"x": 1}}),
            "chat_template_kwargs",
            "no variables",
        ),
        (json!({"tools": 5}), "tools", "expected a sequence"),
        (
            json!({"tools": [{"type": "web_search"}]}),
            "tools[0].type",
            "web_search",
        ),
        (tool(json!({})), "tools[0].function", "missing field `name`"),
        (tool(json!({"name": "a b"})), "tools[0].function.name", "letters"),
        (
            tool(json!({"name": "a", "parameters": []})),
            "tools[0].function.parameters",
            "an object",
        ),
        (
            tool(json!({"name": "a", "strict": 1})),
            "tools[0].function.strict",
            "boolean",
        ),
        (json!({"tool_choice": "required"}), "tool_choice", "no tools"),
        (json!({"tool_choice": "some"}), "tool_choice", "some"),
        (
            json!({"tool_choice": {"type": "function"}}),
            "tool_choice",
            "missing field `function`",
        ),
        (json!({"response_format": "json"}), "response_format", "expected"),
        (
            json!({"response_format": {"type": "xml"}}),
            "response_format.type",
            "xml",
        ),
        (
            json!({"response_format": {"type": "json_schema"}}),
            "response_format.json_schema.schema",
            "no response_format",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "fox"}}}}),
            "response_format.json_schema.schema",
            "fox",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": [1]}}}),
            "response_format.json_schema.schema",
            "an object",
        ),
        (json!({"guided_json": 5}), "guided_json", "an object"),
        (json!({"regex": "("}), "regex", "regular expression"),
        (json!({"grammar": "root ::= ("}), "grammar", "GBNF"),
        (
            json!({"grammar": "root ::= root root"}),
            "grammar",
            "cannot be followed",
        ),
        (json!({"grammar": "start: <[99999]>"}), "grammar", "Lark"),
        (json!({"regex": "a".repeat(300_000)}), "regex", "at most"),
        (json!({"regex": "a", "grammar": "start: \"a\""}), "regex", "both"),
        (
            json!({"response_format": {"type": "json_object"}, "guided_json": {}}),
            "guided_json",
            "both",
        ),
    ];
    for (more, param, word) in cases {
        refused(&server, CHAT, &asks(more).to_string(), param, word);
    }
    let named = json!({"type": "function", "function": {"name": "b"}});
    let f = |parameters: Value| json!([{"type": "function", "function": {"name": "a", "parameters": parameters}}]);
    let bad = json!({"type": "object", "properties": {"x": {"type": "fox"}}});
    let prefix = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "prefix": true}]);
    let cases: Vec<Case> = vec![
        (
            json!({"tools": f(json!({})), "guided_json": bad}),
            "guided_json",
            "fox",
        ),
        (
            json!({"tools": f(json!({})), "tool_choice": named}),
            "tool_choice",
            "\"b\"",
        ),
        (
            json!({"tools": f(bad), "tool_choice": "required"}),
            "tools[0].function.parameters",
            "fox",
        ),
        (
            json!({"tools": f(json!({})), "regex": "a"}),
            "regex",
            "tool_choice",
        ),
        (
            json!({"tools": f(json!({})), "messages": prefix}),
            "messages[1].prefix",
            "tool_choice",
        ),
        (
            json!({"tools": [f(json!({}))[0], f(json!({}))[0]]}),
            "tools[1].function.name",
            "another tool",
        ),
        (
            json!({"tools": vec![f(json!({}))[0].clone(); 129]}),
            "tools",
            "at most 128",
        ),
    ];
    for (more, param, word) in cases {
        refused(&server, CHAT, &asks(more).to_string(), param, word);
    }
}

/// A format or vocabulary without words for calls says so.
#[test]
fn calls_that_cannot_be_made() {
    let tools = json!([{"type": "function", "function": {"name": "a"}}]);
    let body = asks(json!({"tools": tools, "tool_choice": "required"})).to_string();
    refused(
        &Setup::default().run(),
        CHAT,
        &body,
        "tool_choice",
        "no words for calls",
    );
}

#[test]
fn texts() {
    let server = Setup::default().run();
    let cases: Vec<Case> = vec![
        (json!({}), "", "missing field `prompt`"),
        (json!({"prompt": []}), "prompt", "a list of texts"),
        (json!({"prompt": 5}), "prompt", "found 5"),
        (json!({"prompt": ["a", 5]}), "prompt", "expected a string"),
        (json!({"prompt": [[1], [-1]]}), "prompt", "found -1"),
        (json!({"prompt": [1024]}), "prompt", "1024"),
        (json!({"prompt": [[]]}), "prompt", "empty"),
        (json!({"prompt": "a", "suffix": "b"}), "suffix", "[SUFFIX]"),
        (json!({"prompt": [1], "suffix": "b"}), "prompt", "expected a text"),
        (json!({"prompt": "a", "best_of": 2}), "best_of", "expected n"),
        (
            json!({"prompt": "a", "echo": true, "logprobs": 1}),
            "echo",
            "logprobs",
        ),
        (json!({"prompt": vec!["a"; 65], "n": 2}), "prompt", "at most 128"),
        (
            json!({"prompt": "a", "regex": "["}),
            "regex",
            "regular expression",
        ),
    ];
    for (body, param, word) in cases {
        refused(&server, TEXT, &body.to_string(), param, word);
    }
    let cases: Vec<Case> = vec![
        (json!({}), "", "missing field `input`"),
        (json!({"input": ""}), "input", "empty"),
        (json!({"input": ["a", ""]}), "input[1]", "empty"),
        (json!({"input": [[]]}), "input", "empty"),
        (json!({"input": [1, 5000]}), "input", "5000"),
        (json!({"input": {"a": 1}}), "input", "a list of texts"),
        (json!({"input": vec!["a"; 2049]}), "input", "at most 2048"),
        (json!({"input": "a", "dimensions": 64}), "dimensions", "256"),
        (
            json!({"input": "a", "encoding_format": "hex"}),
            "encoding_format",
            "hex",
        ),
        (json!({"input": "a ".repeat(600)}), "input", "too long"),
    ];
    for (body, param, word) in cases {
        refused(&server, "/v1/embeddings", &body.to_string(), param, word);
    }
}

/// What is no JSON, no text, too long a prompt, another model.
#[test]
fn the_rest() {
    let server = Setup::default().run();
    for body in [
        "",
        "{",
        "[]",
        "5",
        "{\"prompt\": \"\\ud800\"}",
        "{\"prompt\": \"a\"} x",
    ] {
        let (status, answer) = server.post_text(TEXT, body);
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let long = "word ".repeat(600);
    let chat = asks(json!({"messages": [{"role": "user", "content": long}]}));
    for (path, body, param) in [
        (CHAT, chat, "messages"),
        (TEXT, json!({"prompt": long}), "prompt"),
        (TEXT, json!({"prompt": ["a", long]}), "prompt"),
    ] {
        let (status, answer) = server.post(path, &body);
        let error = &answer["error"];
        assert_eq!((status, &error["code"]), (400, &json!("context_length_exceeded")));
        assert_eq!(error["param"], param);
        assert!(error["message"].as_str().unwrap().contains("prompt is too long"));
    }
    for (path, mut body) in [
        (CHAT, asks(json!({}))),
        (TEXT, json!({"prompt": "a"})),
        ("/v1/embeddings", json!({"input": "a"})),
    ] {
        body["model"] = "gpt-9".into();
        let (status, answer) = server.post(path, &body);
        assert_eq!(
            (status, &answer["error"]["code"]),
            (404, &json!("model_not_found"))
        );
        body["model"] = "".into();
        assert_eq!(server.post(path, &body).0, 200);
    }
    for (path, body) in [
        ("/v1/responses", json!({"input": "a"})),
        ("/v1/responses/r_1/cancel", json!({})),
    ] {
        let (status, answer) = server.post(path, &body);
        assert_eq!(status, 404);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("/v1/chat/completions"), "{message}");
    }
}
