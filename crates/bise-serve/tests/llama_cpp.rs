//! llama.cpp's own interface.

mod common;

use common::{Running, Setup, with_control_tokens};
use serde_json::{Value, json};

fn tokens(server: &Running, body: Value) -> Value {
    let (status, answer) = server.post("/tokenize", &body);
    assert_eq!(status, 200, "{answer}");
    answer["tokens"].clone()
}

fn text(server: &Running, tokens: &Value) -> Value {
    let (status, answer) = server.post("/detokenize", &json!({"tokens": tokens}));
    assert_eq!(status, 200, "{answer}");
    answer["content"].clone()
}

#[test]
fn texts_become_tokens_and_texts_again() {
    let server = Setup::default().run();
    for content in [
        "",
        "Once upon a time",
        "a </s> b <s>",
        " two  spaces ",
        "\u{1f43a} caf\u{e9}\n",
    ] {
        let plain = tokens(&server, json!({"content": content}));
        assert_eq!(plain, json!(server.served.tokenizer.encode(content.as_bytes())));
        assert_eq!(text(&server, &plain), content);
        let whole = tokens(&server, json!({"content": content, "add_special": true}));
        assert_eq!(whole[0], 1);
        assert_eq!(whole.as_array().unwrap()[1..], plain.as_array().unwrap()[..]);
        assert_eq!(text(&server, &whole), format!("<s>{content}"));
        let pieces = tokens(&server, json!({"content": content, "with_pieces": true}));
        for (piece, id) in pieces.as_array().unwrap().iter().zip(plain.as_array().unwrap()) {
            assert_eq!(&piece["id"], id);
            assert!(piece["piece"].is_string() || piece["piece"].is_array());
        }
    }
    let wolf = tokens(&server, json!({"content": "\u{1f43a}", "with_pieces": true}));
    let bytes: Vec<&Value> = wolf.as_array().unwrap().iter().map(|one| &one["piece"]).collect();
    assert!(bytes.contains(&&json!([0xf0])), "{bytes:?}");
}

/// Names of control tokens are text, unless they are asked to be more.
#[test]
fn control_tokens_by_their_names() {
    let server = Setup::default().run();
    let content = "Once</s> upon <s";
    let plain = tokens(&server, json!({"content": content}));
    assert!(!plain.as_array().unwrap().contains(&json!(2)));
    let special = tokens(&server, json!({"content": content, "parse_special": true}));
    let ids = special.as_array().unwrap();
    assert_eq!(ids.iter().filter(|id| **id == 2).count(), 1);
    assert!(!ids.contains(&json!(1)));
    let body = json!({"content": "<s>Once", "parse_special": true, "add_special": true});
    let ids = tokens(&server, body);
    assert_eq!(ids.as_array().unwrap().iter().filter(|id| **id == 1).count(), 1);
}

#[test]
fn a_conversation_as_the_model_sees_it() {
    let server = Setup::default().run();
    let messages = json!([{"role": "user", "content": "Hello </s>"}]);
    let (status, answer) = server.post("/apply-template", &json!({"messages": messages}));
    assert_eq!(
        (status, &answer["prompt"]),
        (200, &json!("<s>[INST] Hello </s> [/INST]"))
    );

    let server = Setup {
        template: "v3",
        vocabulary: with_control_tokens,
        ..Setup::default()
    }
    .run();
    let (_, answer) = server.post("/apply-template", &json!({"messages": messages}));
    assert_eq!(answer["prompt"], "<s>[INST] Hello </s>[/INST]");
}

#[test]
fn the_server_describes_itself() {
    let server = Setup::default().run();
    let (status, props) = server.get("/props");
    assert_eq!(status, 200);
    let defaults = &props["default_generation_settings"];
    assert_eq!(defaults["n_ctx"], 512);
    assert_eq!(defaults["params"]["top_k"], 40);
    assert_eq!(
        (&props["total_slots"], &props["model_path"]),
        (&json!(64), &json!("tiny"))
    );
    assert_eq!(props["chat_template"], "v1");
    assert!(props["build_info"].as_str().unwrap().starts_with("bise "));
}

fn body() -> Value {
    json!({"prompt": "Once upon a time", "n_predict": 20, "seed": 3})
}

#[test]
fn a_text_goes_on() {
    let server = Setup::default().run();
    let (status, answer) = server.post("/completion", &body());
    assert_eq!(status, 200, "{answer}");
    for (field, expected) in [
        ("index", json!(0)),
        ("stop", true.into()),
        ("tokens", json!([])),
        ("stop_type", "limit".into()),
        ("stopping_word", "".into()),
        ("tokens_predicted", 20.into()),
        (
            "tokens_evaluated",
            server.served.text_prompt("Once upon a time").len().into(),
        ),
        ("truncated", false.into()),
        ("prompt", "<s>Once upon a time".into()),
    ] {
        assert_eq!(answer[field], expected, "{field}");
    }
    assert_eq!(answer["generation_settings"]["n_predict"], 20);
    assert_eq!(answer["generation_settings"]["seed"], 3);
    assert!(answer["timings"]["predicted_per_second"].as_f64().unwrap() > 0.0);

    let mut streamed = body();
    streamed["stream"] = true.into();
    let events = server.stream("/completion", &streamed);
    let events: Vec<Value> = events.iter().map(|e| serde_json::from_str(e).unwrap()).collect();
    let (last, pieces) = events.split_last().unwrap();
    let text: String = pieces
        .iter()
        .map(|piece| piece["content"].as_str().unwrap())
        .collect();
    assert_eq!(answer["content"], text);
    assert!(pieces.iter().all(|piece| piece["stop"] == false) && pieces.len() > 5);
    assert_eq!((&last["stop"], &last["content"]), (&json!(true), &json!("")));
    assert_eq!(last["tokens_predicted"], 20);
    assert!(last["tokens_cached"].as_u64() > Some(0));
}

/// What a prompt says in tokens, in texts, or in both.
#[test]
fn prompts_of_all_forms() {
    let server = Setup::default().run();
    let ids = server.served.text_prompt("Once upon a time");
    let (_, usual) = server.post("/completion", &body());
    let with = |field: &str, value: Value| {
        let mut body = body();
        body[field] = value;
        let (status, answer) = server.post("/completion", &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    assert_eq!(with("prompt", json!(ids))["content"], usual["content"]);
    assert_eq!(
        with("prompt", json!(["Once upon a time"]))["content"],
        usual["content"]
    );
    let mixed = with("prompt", json!([ids[0], "Once upon a time"]));
    assert_eq!(mixed["content"], usual["content"]);
    let mut named = body();
    (named["prompt"], named["parse_special"]) = ("<s>Once upon a time".into(), true.into());
    let (_, named) = server.post("/completion", &named);
    assert_eq!(named["tokens_evaluated"], ids.len());

    let tokens = with("return_tokens", true.into());
    assert_eq!(tokens["content"], usual["content"]);
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 20);
    assert!(tokens.get("completion_probabilities").is_none());
    let probabilities = with("n_probs", 2.into());
    let first = &probabilities["completion_probabilities"][0];
    assert_eq!(first["id"], tokens["tokens"][0]);
    assert_eq!(first["top_logprobs"].as_array().unwrap().len(), 2);
    let forbidden = json!([[tokens["tokens"][0], false]]);
    let other = with("logit_bias", forbidden.clone());
    assert_ne!(other["content"], usual["content"]);
    let object = json!({tokens["tokens"][0].to_string(): false});
    assert_eq!(with("logit_bias", object)["content"], other["content"]);
}

#[test]
fn grammars_and_stops() {
    let server = Setup::default().run();
    let with = |fields: Value| {
        let mut body = body();
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let (status, answer) = server.post("/completion", &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let yes = with(json!({"grammar": "root ::= \"yes\" | \"no\""}));
    assert!(["yes", "no"].contains(&yes["content"].as_str().unwrap()));
    assert_eq!(yes["stop_type"], "eos");
    let json = with(json!({"json_schema": {"type": "integer", "minimum": 5, "maximum": 7}}));
    let number: u8 = json["content"].as_str().unwrap().parse().unwrap();
    assert!((5..=7).contains(&number));
    let all = with(json!({}));
    let all = all["content"].as_str().unwrap();
    let word = with(json!({"stop": [&all[6..9]]}));
    assert_eq!(word["stop_type"], "word");
    assert_eq!(word["stopping_word"], all[6..9]);
    assert_eq!(word["content"], all[..all.find(&all[6..9]).unwrap()]);
    let none = with(json!({"n_predict": 0}));
    assert_eq!(
        (&none["content"], &none["tokens_predicted"]),
        (&json!(""), &json!(0))
    );
    let names = ["top_k", "temperature"];
    let few = with(json!({"samplers": names, "top_k": 1}));
    assert_eq!(
        few["generation_settings"]["samplers"],
        json!(["top-k", "temperature"])
    );
    assert_eq!(few["content"], with(json!({"temperature": 0}))["content"]);
}

/// Each with a word that the error must say.
#[test]
fn what_is_wrong_is_said() {
    let server = Setup::default().run();
    let completion = |field: &str, value: Value| {
        let mut body = body();
        body[field] = value;
        ("/completion", body)
    };
    for ((path, body), param, word) in [
        (("/tokenize", json!({})), None, "content"),
        (("/tokenize", json!({"content": 5})), Some("content"), "string"),
        (
            ("/detokenize", json!({"tokens": [1, 99999]})),
            Some("tokens[1]"),
            "below 1024",
        ),
        (("/detokenize", json!({"tokens": [-1]})), Some("tokens[0]"), "-1"),
        (
            ("/apply-template", json!({"messages": []})),
            Some("messages"),
            "at least one",
        ),
        (completion("prompt", 5.into()), Some("prompt"), "a text or a list"),
        (
            completion("prompt", json!(["a", "b"])),
            Some("prompt"),
            "list of 2 texts",
        ),
        (
            completion("prompt", json!([1, [2]])),
            Some("prompt[1]"),
            "a token or a text",
        ),
        (completion("prompt", json!([])), Some("prompt"), "empty"),
        (completion("prompt", json!([99999])), Some("prompt"), "99999"),
        (completion("n_predict", (-7).into()), Some("n_predict"), "-7"),
        (completion("temperature", "x".into()), Some("temperature"), "x"),
        (completion("min_p", 7.into()), Some("min_p"), "7"),
        (completion("dry_base", 0.into()), Some("dry_base"), "0"),
        (
            completion("samplers", json!(["magic"])),
            Some("samplers"),
            "magic",
        ),
        (
            completion("grammar", "root ::= (".into()),
            Some("grammar"),
            "grammar",
        ),
        (completion("logit_bias", json!([[1]])), Some("logit_bias"), "[1]"),
        (
            completion("logit_bias", json!([[99999, 1]])),
            Some("logit_bias"),
            "99999",
        ),
        (completion("n_probs", 1000.into()), Some("n_probs"), "1000"),
        (
            completion("lora", json!([{"id": 0}])),
            Some("lora"),
            "cannot be had",
        ),
        (
            completion("dynatemp_range", 0.5.into()),
            Some("dynatemp_range"),
            "0.5",
        ),
    ] {
        let (status, answer) = server.post(path, &body);
        assert_eq!(status, 400, "{body}: {answer}");
        let error = &answer["error"];
        assert!(
            error["message"].as_str().unwrap().contains(word),
            "{word}: {answer}"
        );
        assert_eq!(error["param"].as_str(), param, "{answer}");
    }
    for (name, nothing) in [
        ("dynatemp_range", json!(0.0)),
        ("min_keep", 0.into()),
        ("lora", json!([])),
    ] {
        let (path, body) = completion(name, nothing);
        assert_eq!(server.post(path, &body).0, 200, "{name}");
    }
}
