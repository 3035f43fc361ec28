//! Ollama's interface.

mod common;

use common::{Running, Setup, thinking, with_control_tokens};
use serde_json::{Value, json};

/// The lines of a stream.
fn lines(server: &Running, path: &str, body: &Value) -> Vec<Value> {
    let (status, text) = server.post_text(path, &body.to_string());
    assert_eq!(status, 200, "{text}");
    let line = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

/// `body` with `stream` false.
fn whole(body: &Value) -> Value {
    let mut body = body.clone();
    body["stream"] = false.into();
    body
}

fn chat(text: &str) -> Value {
    json!({
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "options": {"seed": 1, "num_predict": 24},
        "tools": [],
    })
}

/// What ends an answer.
fn check_end(end: &Value) {
    assert_eq!(end["done"], true);
    for count in [
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
    ] {
        assert!(end[count].is_u64(), "{count}: {end}");
    }
    assert!(end["eval_duration"].as_u64() <= end["total_duration"].as_u64());
}

#[test]
fn a_chat_in_lines_is_the_chat_at_once() {
    let server = Setup::default().run();
    let body = chat("Once upon a time");
    let lines = lines(&server, "/api/chat", &body);
    let (end, pieces) = lines.split_last().unwrap();
    check_end(end);
    assert_eq!(end["message"], json!({"role": "assistant", "content": ""}));
    let mut text = String::new();
    for line in pieces {
        assert_eq!(
            (&line["done"], &line["model"]),
            (&json!(false), &json!("tiny")),
            "{line}"
        );
        assert!(line["created_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line["message"]["role"], "assistant");
        text += line["message"]["content"].as_str().unwrap();
    }
    assert!(pieces.len() > 3 && text.len() > 10);

    let (status, answer) = server.post("/api/chat", &whole(&body));
    assert_eq!(
        (status, answer["message"]["content"].as_str()),
        (200, Some(text.as_str()))
    );
    check_end(&answer);
    for same in ["eval_count", "prompt_eval_count", "done_reason"] {
        assert_eq!(answer[same], end[same]);
    }
    assert_eq!(answer["done_reason"], "length");
    assert_eq!(answer["eval_count"], 24);
    let ids = server.served.template.encode(
        &server.served.tokenizer,
        &[bise_model::chat::Message::user("Once upon a time")],
        &[],
    );
    assert_eq!(answer["prompt_eval_count"], ids.unwrap().len());
}

#[test]
fn a_text_goes_on() {
    let server = Setup::default().run();
    let body = json!({
        "model": "tiny:latest",
        "prompt": "Once upon a time",
        "raw": true,
        "options": {"temperature": 0, "num_predict": 12},
    });
    let lines = lines(&server, "/api/generate", &body);
    let (end, pieces) = lines.split_last().unwrap();
    check_end(end);
    let text: String = pieces
        .iter()
        .map(|line| line["response"].as_str().unwrap())
        .collect();
    let (_, answer) = server.post("/api/generate", &whole(&body));
    assert_eq!(answer["response"], text);
    assert_eq!(answer["model"], "tiny:latest");
    let raw = answer["prompt_eval_count"].as_u64().unwrap();
    assert_eq!(raw, server.served.text_prompt("Once upon a time").len() as u64);

    // Said by a user, it stands in the words of the chat format.
    let mut said = whole(&body);
    said["raw"] = false.into();
    let (_, answer) = server.post("/api/generate", &said);
    assert!(answer["prompt_eval_count"].as_u64().unwrap() > raw);
    said["system"] = "Tell a story.".into();
    let (_, more) = server.post("/api/generate", &said);
    assert!(more["prompt_eval_count"].as_u64() > answer["prompt_eval_count"].as_u64());
}

#[test]
fn stops_end_an_answer() {
    let server = Setup::default().run();
    let mut body = whole(&json!({
        "model": "tiny", "prompt": "Once upon a time", "raw": true,
        "options": {"temperature": 0, "num_predict": 40},
    }));
    let (_, all) = server.post("/api/generate", &body);
    let all = all["response"].as_str().unwrap();
    let stop = &all[8..14];
    body["options"]["stop"] = json!([stop]);
    let (_, answer) = server.post("/api/generate", &body);
    assert_eq!(answer["response"], all[..all.find(stop).unwrap()]);
    assert_eq!(answer["done_reason"], "stop");
}

#[test]
fn answers_follow_a_format() {
    let server = Setup::default().run();
    let mut body = whole(&chat("Who are you?"));
    let schema = json!({
        "type": "object",
        "properties": {"name": {"enum": ["Tom", "Mia"]}, "brave": {"type": "boolean"}},
        "required": ["name", "brave"],
        "additionalProperties": false,
    });
    body["options"]["num_predict"] = 64.into();
    body["format"] = schema;
    let (_, answer) = server.post("/api/chat", &body);
    let said = answer["message"]["content"].as_str().unwrap();
    let said: Value = serde_json::from_str(said).unwrap();
    assert!(said["brave"].is_boolean() && ["Tom", "Mia"].contains(&said["name"].as_str().unwrap()));
    body["format"] = "json".into();
    let (_, answer) = server.post("/api/chat", &body);
    assert!(answer["message"]["content"].as_str().unwrap().starts_with('{'));
}

#[test]
fn log_probabilities_are_told() {
    let server = Setup::default().run();
    let mut body = chat("Hello");
    (body["logprobs"], body["top_logprobs"]) = (true.into(), 2.into());
    let (_, answer) = server.post("/api/chat", &whole(&body));
    let all = answer["logprobs"].as_array().unwrap();
    assert_eq!(all.len() as u64, answer["eval_count"].as_u64().unwrap());
    for one in all {
        assert_eq!(one["top_logprobs"].as_array().unwrap().len(), 2);
        assert!(one["logprob"].as_f64() <= one["top_logprobs"][0]["logprob"].as_f64());
        assert!(one["token"].is_string() && one["bytes"].is_array());
    }
    let streamed = lines(&server, "/api/chat", &body);
    let streamed: Vec<&Value> = streamed
        .iter()
        .flat_map(|line| line["logprobs"].as_array())
        .flatten()
        .collect();
    assert_eq!(streamed, all.iter().collect::<Vec<_>>());
}

#[test]
fn nobody_says_anything_to_load_the_model() {
    let server = Setup::default().run();
    for (path, field) in [("/api/chat", "messages"), ("/api/generate", "prompt")] {
        for body in [json!({"model": "tiny"}), json!({"model": "tiny", field: null})] {
            let (status, answer) = server.post(path, &body);
            assert_eq!(
                (status, &answer["done_reason"]),
                (200, &json!("load")),
                "{answer}"
            );
            assert_eq!(answer["done"], true);
        }
    }
    let body = json!({"model": "tiny", "messages": [], "keep_alive": "10m"});
    assert_eq!(server.post("/api/chat", &body).1["message"]["role"], "assistant");
}

/// Beside tools an answer by a schema is a call or follows it.
#[test]
fn a_format_and_tools() {
    let server = Setup {
        template: "v3",
        vocabulary: with_control_tokens,
        ..Setup::default()
    };
    let server = server.run();
    let parameters = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let mut seen = [0, 0];
    for seed in 0..12 {
        let mut body = whole(&chat("Hello"));
        body["options"] = json!({"seed": seed, "num_predict": 300});
        body["tools"] =
            json!([{"type": "function", "function": {"name": "f", "parameters": parameters}}]);
        body["format"] = json!({"enum": ["yes", "no"]});
        let (status, answer) = server.post("/api/chat", &body);
        assert_eq!(status, 200, "{answer}");
        if answer["done_reason"] == "length" {
            continue;
        }
        let message = &answer["message"];
        match message.get("tool_calls") {
            Some(calls) => {
                assert_eq!(calls[0]["function"]["arguments"], json!({}));
                let mut streamed = body.clone();
                streamed["stream"] = true.into();
                let lines = lines(&server, "/api/chat", &streamed);
                let [.., call, end] = &lines[..] else {
                    panic!("{lines:?}");
                };
                assert_eq!(
                    (&call["message"]["tool_calls"], &call["done"]),
                    (calls, &json!(false))
                );
                assert_eq!(end["message"], json!({"role": "assistant", "content": ""}));
                assert_eq!(
                    (&end["done"], &end["done_reason"]),
                    (&json!(true), &json!("stop"))
                );
                seen[0] += 1;
            }
            None => {
                let said = message["content"].as_str().unwrap();
                let said: Value = serde_json::from_str(said).expect(said);
                assert!(said == "yes" || said == "no", "{answer}");
                seen[1] += 1;
            }
        }
    }
    assert!(seen[0] > 0, "{seen:?}");
}

/// Calls and results have no ids: each result belongs to a call of its tool.
#[test]
fn results_of_tools_find_their_calls() {
    let server = Setup {
        template: "v3",
        vocabulary: with_control_tokens,
        ..Setup::default()
    }
    .run();
    let call = |name: &str, n: u32| json!({"function": {"name": name, "arguments": {"n": n}}});
    let result =
        |name: &str, text: &str| json!({"role": "tool", "tool_name": name, "content": text});
    let tools = json!([
        {"type": "function", "function": {"name": "a", "description": "A", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "b"}},
    ]);
    let body = json!({
        "model": "tiny",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [call("a", 1), call("b", 2)]},
            result("b", "two"),
            result("a", "one"),
        ],
        "tools": tools,
        "options": {"num_predict": 1, "temperature": 0},
        "stream": false,
    });
    let (status, answer) = server.post("/api/chat", &body);
    assert_eq!(status, 200, "{answer}");
    let same = json!({
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "call00001", "type": "function", "function": {"name": "a", "arguments": {"n": 1}}},
                {"id": "call00002", "type": "function", "function": {"name": "b", "arguments": {"n": 2}}},
            ]},
            {"role": "tool", "content": "two", "tool_call_id": "call00002", "name": "b"},
            {"role": "tool", "content": "one", "tool_call_id": "call00001", "name": "a"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "a", "description": "A", "parameters": {"type": "object"}}},
            {"type": "function", "function": {"name": "b", "parameters": {}}},
        ],
    });
    let conversation = bise_model::chat::Conversation::from_json(&same.to_string()).unwrap();
    let ids = server.served.chat_prompt(&conversation).unwrap();
    assert_eq!(answer["prompt_eval_count"], ids.len());
}

/// Thoughts are told apart, and left out where they are not wanted.
#[test]
fn thoughts_are_told_apart() {
    let server = thinking(0).run();
    let mut shown = 0;
    for seed in 0..6 {
        let mut body = chat("Who?");
        body["options"] = json!({"seed": seed, "num_predict": 40, "temperature": 1});
        body["think"] = true.into();
        let (_, all) = server.post("/api/chat", &whole(&body));
        let lines = lines(&server, "/api/chat", &body);
        let said = |field: &str| {
            let texts = lines.iter().filter_map(|line| line["message"][field].as_str());
            texts.collect::<String>()
        };
        assert_eq!(all["message"]["content"], said("content"));
        assert_eq!(
            all["message"]["thinking"].as_str().unwrap_or_default(),
            said("thinking")
        );
        shown += usize::from(!said("thinking").is_empty());
        body["think"] = false.into();
        let (_, hidden) = server.post("/api/chat", &whole(&body));
        assert_eq!(
            hidden["message"],
            json!({"role": "assistant", "content": said("content")})
        );
        assert_eq!(hidden["eval_count"], all["eval_count"]);
    }
    assert!(shown > 0, "nothing was thought");
    let (_, shown) = server.post("/api/show", &json!({"model": "tiny"}));
    assert_eq!(
        shown["capabilities"],
        json!(["completion", "tools", "insert", "thinking"])
    );
}

#[test]
fn models_are_described() {
    let server = Setup::default().run();
    for path in ["/api/tags", "/api/ps"] {
        let (status, list) = server.get(path);
        assert_eq!(status, 200);
        let model = &list["models"][0];
        assert_eq!(
            (&model["name"], &model["model"]),
            (&json!("tiny"), &json!("tiny"))
        );
        assert_eq!(model["details"]["parameter_size"], "2.8M");
        assert_eq!(model["details"]["quantization_level"], "Q4_K");
        assert_eq!(model["digest"].as_str().unwrap().len(), 64);
        assert_eq!(model["size"], 1_701_120);
        assert_eq!(model["expires_at"].is_string(), path == "/api/ps");
    }
    let (status, shown) = server.post("/api/show", &json!({"model": "tiny"}));
    assert_eq!(status, 200);
    let info = &shown["model_info"];
    assert_eq!(info["general.architecture"], "llama");
    assert_eq!(info["llama.attention.layer_norm_rms_epsilon"], 1e-5);
    assert!(info.get("tokenizer.ggml.tokens").is_none());
    assert_eq!(shown["capabilities"], json!(["completion"]));
    let (_, all) = server.post("/api/show", &json!({"name": "tiny", "verbose": true}));
    assert_eq!(
        all["model_info"]["tokenizer.ggml.tokens"]
            .as_array()
            .unwrap()
            .len(),
        1024
    );
    let (_, version) = server.get("/api/version");
    assert!(version["version"].as_str().unwrap().split('.').count() == 3);
}

#[test]
fn files_are_not_managed() {
    let server = Setup::default().run();
    for path in [
        "/api/create",
        "/api/push",
        "/api/copy",
        "/api/delete",
        "/api/blobs/sha256:1",
    ] {
        let (status, answer) = server.post(path, &json!({"model": "x"}));
        assert_eq!(status, 501, "{path}");
        assert!(
            answer["error"].as_str().unwrap().contains("start bise serve"),
            "{answer}"
        );
    }
    let pull = |name: &str| server.post("/api/pull", &json!({"model": name}));
    assert_eq!(pull("tiny"), (200, json!({"status": "success"})));
    assert_eq!(pull("other").0, 404);
}

#[test]
fn embeddings() {
    let server = Setup::default().run();
    let length = |values: &Value| {
        let values = values.as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
        values.map(|x| x * x).sum::<f64>().sqrt()
    };
    let body = json!({"model": "tiny", "input": ["one", "two"]});
    let (status, answer) = server.post("/api/embed", &body);
    assert_eq!(status, 200, "{answer}");
    let both = answer["embeddings"].as_array().unwrap();
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|one| (length(one) - 1.0).abs() < 1e-6));
    assert!(answer["prompt_eval_count"].as_u64().unwrap() > 2);
    let (_, one) = server.post("/api/embed", &json!({"model": "tiny", "input": "two"}));
    assert_eq!(one["embeddings"], json!([both[1]]));
    let (_, old) = server.post("/api/embeddings", &json!({"model": "tiny", "prompt": "two"}));
    assert_eq!(old["embedding"], both[1]);

    let body = json!({"model": "tiny", "input": "two", "dimensions": 16});
    let (_, short) = server.post("/api/embed", &body);
    let short = &short["embeddings"][0];
    assert_eq!(short.as_array().unwrap().len(), 16);
    assert!((length(short) - 1.0).abs() < 1e-6);
    let ratio = |i: usize| both[1][i].as_f64().unwrap() / short[i].as_f64().unwrap();
    assert!((ratio(0) - ratio(15)).abs() < 1e-4);

    let long = "word ".repeat(2000);
    let mut body = json!({"model": "tiny", "input": long});
    assert_eq!(server.post("/api/embed", &body).1["prompt_eval_count"], 512);
    body["truncate"] = false.into();
    let (status, answer) = server.post("/api/embed", &body);
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("too long"));
    let (_, none) = server.post("/api/embed", &json!({"model": "tiny", "input": []}));
    assert_eq!(none["embeddings"], json!([]));
}

/// Each with a word that the error must say.
#[test]
fn what_is_wrong_is_said() {
    let server = Setup::default().run();
    let message = |message: Value| json!({"model": "tiny", "messages": [message]});
    let with = |field: &str, value: Value| {
        let mut body = chat("hi");
        body[field] = value;
        body
    };
    let option = |name: &str, value: Value| with("options", json!({name: value}));
    let chats = [
        (message(json!({"role": "wizard", "content": "hi"})), 400, "`user`"),
        (
            message(json!({"role": "user", "content": 5})),
            400,
            "messages[0].content",
        ),
        (message(json!({"role": "user", "images": ["x"]})), 400, "images"),
        (
            message(
                json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}),
            ),
            400,
            "arguments",
        ),
        (json!({"messages": []}), 400, "`model`"),
        (with("model", "other".into()), 404, "model \"other\" not found"),
        (with("format", 5.into()), 400, "JSON schema"),
        (with("format", json!({"type": 5})), 400, "type"),
        (with("think", 5.into()), 400, "think"),
        (with("think", true.into()), 400, "does not support thinking"),
        (with("think", "high".into()), 400, "effort"),
        (with("keep_alive", json!([])), 400, "keep_alive"),
        (with("top_logprobs", 3.into()), 400, "logprobs"),
        (with("messages", json!("hi")), 400, "messages"),
        (with("options", json!(5)), 400, "options"),
        (
            option("temperature", (-1).into()),
            400,
            "options.temperature: found -1",
        ),
        (option("temperature", "hot".into()), 400, "options.temperature"),
        (option("temperature", 1e300.into()), 400, "1e+300"),
        (option("top_p", 2.into()), 400, "options.top_p: found 2"),
        (option("typical_p", 2.into()), 400, "options.typical_p: found 2"),
        (option("top_k", (-7).into()), 400, "options.top_k: found -7"),
        (option("top_k", 1.5.into()), 400, "options.top_k"),
        (
            option("num_predict", (-9).into()),
            400,
            "options.num_predict: found -9",
        ),
        (option("num_ctx", 100_000.into()), 400, "--ctx 100000"),
        (option("seed", u64::MAX.into()), 400, "18446744073709551615"),
        (option("mirostat", 1.into()), 400, "options.mirostat is 1"),
        (option("tfs_z", 0.5.into()), 400, "tail-free"),
        (option("temprature", 1.into()), 400, "temprature"),
        (option("stop", vec!["x"; 1000].into()), 400, "at most 16"),
    ];
    let generate =
        |field: &str, value: Value| json!({"model": "tiny", "prompt": "x", field: value});
    let generates = [
        (generate("template", "{{ .Prompt }}".into()), 400, "template"),
        (generate("context", json!([1, 2])), 400, "/api/chat"),
        (generate("images", json!(["x"])), 400, "images"),
        (generate("suffix", "end".into()), 400, "[SUFFIX]"),
        (
            json!({"model": "tiny", "prompt": "x", "raw": true, "system": "s"}),
            400,
            "system",
        ),
    ];
    let embeds = [
        (json!({"model": "tiny", "input": 5}), 400, "input"),
        (json!({"model": "tiny", "input": ["x", 5]}), 400, "input[1]"),
        (
            json!({"model": "tiny", "input": "x", "dimensions": 0}),
            400,
            "dimensions: found 0",
        ),
        (
            json!({"model": "tiny", "input": "x", "dimensions": 1000}),
            400,
            "1 to 256",
        ),
    ];
    let all = chats.into_iter().map(|case| ("/api/chat", case));
    let all = all.chain(generates.into_iter().map(|case| ("/api/generate", case)));
    let all = all.chain(embeds.into_iter().map(|case| ("/api/embed", case)));
    for (path, (body, expected, word)) in all {
        let (status, answer) = server.post(path, &body);
        assert_eq!(status, expected, "{body}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(word), "{word}: {error}");
    }
    let (status, answer) = server.post("/api/show", &json!({"model": "other"}));
    assert_eq!((status, answer["error"].is_string()), (404, true));
}
