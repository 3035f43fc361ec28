//! Texts that go on.

use crate::common::{Setup, with_control_tokens};
use crate::{TEXT, keys, timeless, with};
use serde_json::{Value, json};

fn body(more: Value) -> Value {
    with(
        json!({"prompt": "Once upon a time", "max_tokens": 16, "seed": 3}),
        more,
    )
}

#[test]
fn answers_have_every_field() {
    let server = Setup::default().run();
    let answer = server.answered(TEXT, &body(json!({"model": "tiny"})));
    let fields = [
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "choices",
        "usage",
    ];
    assert_eq!(keys(&answer), fields);
    assert_eq!(answer["object"], "text_completion");
    let choice = &answer["choices"][0];
    assert_eq!(keys(choice), ["index", "text", "logprobs", "finish_reason"]);
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 16);
}

/// Texts and their tokens, alone and with others, are gone on with alike.
#[test]
fn prompts_come_in_four_forms() {
    let server = Setup::default().run();
    let texts = ["Once upon a time", "The fox"];
    let ids = texts.map(|text| server.served.text_prompt(text));
    let say = |prompt: Value| -> Vec<String> {
        let answer = server.answered(TEXT, &body(json!({"prompt": prompt, "n": 2})));
        let choices = answer["choices"].as_array().unwrap();
        for (i, choice) in choices.iter().enumerate() {
            assert_eq!(choice["index"], i);
        }
        choices
            .iter()
            .map(|choice| choice["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let [first, second] = texts.map(|text| say(json!(text)));
    assert_eq!(first.len(), 2);
    assert_eq!(say(json!([texts[1]])), second);
    assert_eq!(say(json!(ids[1])), second);
    let both = [first, second].concat();
    assert_eq!(say(json!(texts)), both);
    assert_eq!(say(json!(ids)), both);
}

#[test]
fn streams_say_what_plain_answers_say() {
    let server = Setup::default().run();
    let more = json!({
        "prompt": ["Once upon a time", "The fox"], "n": 2, "echo": true, "stop": "and",
        "stream_options": {"include_usage": true},
    });
    let plain = server.answered(TEXT, &body(more.clone()));
    let chunks = server.chunks(TEXT, &body(more));
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    let of = |answer: &Value| answer["usage"]["total_tokens"].clone();
    assert_eq!(of(last), of(&plain));
    for (i, choice) in plain["choices"].as_array().unwrap().iter().enumerate() {
        let own = |chunk: &&Value| chunk["choices"][0]["index"] == i;
        let own: Vec<&Value> = chunks
            .iter()
            .filter(own)
            .map(|chunk| &chunk["choices"][0])
            .collect();
        let text: String = own.iter().filter_map(|choice| choice["text"].as_str()).collect();
        assert_eq!(text, choice["text"].as_str().unwrap());
        assert!(text.starts_with(["Once upon a time", "The fox"][i / 2]), "{text}");
        let ends = own.iter().filter(|choice| !choice["finish_reason"].is_null());
        assert_eq!(ends.count(), 1);
        assert_eq!(own[own.len() - 1]["finish_reason"], choice["finish_reason"]);
    }
}

#[test]
fn probabilities_are_told() {
    let server = Setup::default().run();
    let answer = server.answered(TEXT, &body(json!({"logprobs": 2, "temperature": 0})));
    let choice = &answer["choices"][0];
    let logprobs = &choice["logprobs"];
    let list = |key: &str| logprobs[key].as_array().unwrap().clone();
    let tokens = list("tokens");
    assert_eq!(tokens.len(), 16);
    let text: String = tokens.iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(text, choice["text"].as_str().unwrap());
    let mut at = 0;
    for (i, token) in tokens.iter().enumerate() {
        assert_eq!(list("text_offset")[i], at);
        let token = token.as_str().unwrap();
        at += token.chars().count();
        let top = list("top_logprobs")[i].clone();
        assert_eq!(top.as_object().unwrap().len(), 2);
        assert_eq!(top[token], list("token_logprobs")[i]);
    }
}

/// Options that change nothing leave the answer as it is, and those that decide do.
#[test]
fn options_are_heard() {
    let server = Setup::default().run();
    let say = |more: Value| timeless(server.answered(TEXT, &body(more)))["choices"][0].clone();
    let off = json!({"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0});
    let plain = say(off.clone());
    let more = json!({
        "typical_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "repeat_penalty": 1, "repeat_last_n": -1,
        "best_of": 1, "ignore_eos": false, "suffix": null, "top_k": -1, "max_tokens": 16.0,
    });
    assert_eq!(say(with(off.clone(), more)), plain);
    let greedy = say(json!({"temperature": 0}));
    for more in [
        json!({"top_k": 1}),
        json!({"top_p": 0}),
        json!({"min_p": 1}),
        json!({"temperature": 1e-20}),
    ] {
        assert_eq!(say(with(off.clone(), more.clone())), greedy, "{more}");
    }
    let long = with(off.clone(), json!({"max_tokens": 60}));
    let plain = say(long.clone());
    for more in [
        json!({"frequency_penalty": 2}),
        json!({"presence_penalty": 2}),
        json!({"repeat_penalty": 2}),
        json!({"repetition_penalty": 2}),
        json!({"typical_p": 0.2}),
        json!({"seed": 4}),
    ] {
        assert_ne!(say(with(long.clone(), more.clone())), plain, "{more}");
    }
    assert_eq!(
        say(json!({"max_tokens": 0, "echo": true}))["text"],
        "Once upon a time"
    );
    let long = say(json!({"max_tokens": -1, "ignore_eos": true}));
    assert_eq!(long["finish_reason"], "length");
    assert!(long["text"].as_str().unwrap().len() > 500);
}

#[test]
fn gaps_are_filled_where_the_vocabulary_can() {
    let server = Setup {
        vocabulary: with_control_tokens,
        ..Setup::default()
    };
    let server = server.run();
    let answer = server.answered(TEXT, &body(json!({"suffix": " and so it ended."})));
    let served = &server.served;
    let ids = served
        .tokenizer
        .encode_infill(b"Once upon a time", b" and so it ended.");
    assert_eq!(answer["usage"]["prompt_tokens"], ids.unwrap().len());
    let again = server.answered(TEXT, &body(json!({"suffix": ""})));
    assert!(again["usage"]["prompt_tokens"].as_u64() < answer["usage"]["prompt_tokens"].as_u64());
}
