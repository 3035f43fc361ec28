//! Conversations.

use crate::common::{Setup, with_control_tokens};
use crate::{CHAT, asks, keys, timeless, with};
use serde_json::{Value, json};

/// A plain answer has every field, whatever was asked for.
#[test]
fn answers_have_every_field() {
    let server = Setup::default().run();
    let answer = server.answered(CHAT, &asks(json!({"n": 2})));
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
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "tiny");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    for (i, choice) in answer["choices"].as_array().unwrap().iter().enumerate() {
        assert_eq!(keys(choice), ["index", "message", "logprobs", "finish_reason"]);
        assert_eq!(choice["index"], i);
        assert_eq!(keys(&choice["message"]), ["role", "content", "refusal"]);
        assert_eq!(choice["message"]["role"], "assistant");
        assert_eq!(choice["finish_reason"], "length");
    }
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], 48);
    let sum = usage["prompt_tokens"].as_u64().unwrap() + 48;
    assert_eq!(usage["total_tokens"], sum);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
    // The second request begins as the first did.
    let again = server.answered(CHAT, &asks(json!({})));
    let cached = &again["usage"]["prompt_tokens_details"]["cached_tokens"];
    assert!(cached.as_u64().unwrap() > 0, "{again}");
}

/// The deltas of a stream, joined, are the plain answer.
#[test]
fn streams_say_what_plain_answers_say() {
    let server = Setup::default().run();
    let body = asks(json!({"n": 3, "logprobs": true, "top_logprobs": 2, "stop": ["the fox and"]}));
    let plain = server.answered(CHAT, &body);
    let usage = json!({"stream_options": {"include_usage": true}});
    let chunks = server.chunks(CHAT, &with(body.clone(), usage));
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], plain["usage"]["total_tokens"]);
    for (i, choice) in plain["choices"].as_array().unwrap().iter().enumerate() {
        let own = |chunk: &&Value| chunk["choices"][0]["index"] == i;
        let own: Vec<&Value> = chunks
            .iter()
            .filter(own)
            .map(|chunk| &chunk["choices"][0])
            .collect();
        let (first, last) = (own[0], own[own.len() - 1]);
        assert_eq!(first["delta"], json!({"role": "assistant", "content": ""}));
        assert_eq!(last["delta"], json!({}));
        let has = |key: &str| {
            own.iter()
                .filter(|choice| choice["delta"].get(key).is_some())
                .count()
        };
        assert_eq!(has("role"), 1);
        let finished: Vec<&Value> = own.iter().map(|choice| &choice["finish_reason"]).collect();
        assert!(finished[..own.len() - 1].iter().all(|reason| reason.is_null()));
        assert_eq!(finished[own.len() - 1], &choice["finish_reason"]);
        let text: String = own
            .iter()
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, choice["message"]["content"].as_str().unwrap());
        let logprobs: Vec<&Value> = own
            .iter()
            .filter_map(|choice| choice["logprobs"]["content"].as_array())
            .flatten()
            .collect();
        assert_eq!(json!(logprobs), choice["logprobs"]["content"]);
    }
    for chunk in chunks {
        assert_eq!(
            keys(chunk),
            [
                "id",
                "object",
                "created",
                "model",
                "system_fingerprint",
                "choices"
            ]
        );
        assert_eq!(chunk["id"], last["id"]);
        assert_eq!(chunk["object"], "chat.completion.chunk");
    }
    // Nobody asked for the numbers of tokens.
    let chunks = server.chunks(CHAT, &body);
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
}

/// Mistral's client cannot ask for the numbers of tokens, and reads them.
#[test]
fn mistrals_client_gets_the_numbers_of_tokens() {
    let server = Setup::default().run();
    let body = asks(json!({"stream": true})).to_string();
    let request = ureq::post(format!("{}{CHAT}", server.url));
    let request = request.header("user-agent", "mistral-client-python/3.7.0");
    let mut response = request.send(&body).unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "text/event-stream");
    let text = response.body_mut().read_to_string().unwrap();
    assert_eq!(text.matches("\"usage\":{").count(), 1, "{text}");
}

/// Answer `i` of several is the one to the seed `seed + i`.
#[test]
fn several_answers_have_seeds_of_their_own() {
    let server = Setup::default().run();
    let say = |more: Value| {
        let answer = server.answered(CHAT, &asks(more));
        let choices = answer["choices"].as_array().unwrap().clone();
        choices
            .into_iter()
            .map(|choice| choice["message"]["content"].as_str().unwrap().to_owned())
            .collect::<Vec<String>>()
    };
    let all = say(json!({"n": 3, "seed": 41}));
    assert_ne!(all[0], all[1]);
    for (i, answer) in all.iter().enumerate() {
        for seed in [
            json!({"seed": 41 + i}),
            json!({"seed": null, "random_seed": 41 + i}),
        ] {
            assert_eq!(say(seed)[0], *answer);
        }
    }
    for seed in [i64::MIN, -1, i64::MAX] {
        assert_eq!(say(json!({"seed": seed})), say(json!({"seed": seed})));
    }
}

/// What stands for the same request, has the same answer.
#[test]
fn the_same_is_said_in_many_ways() {
    let server = Setup::default().run();
    let say = |more: Value| timeless(server.answered(CHAT, &asks(more)));
    let messages = |role: &str, content: Value| json!({"messages": [{"role": role, "content": content}, {"role": "user", "content": "Go on."}]});
    // Once more, so that all begin with what is known.
    say(messages("system", json!("Be brief.\n\nBe kind.")));
    let plain = say(messages("system", json!("Be brief.\n\nBe kind.")));
    let parts =
        json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]);
    assert_eq!(say(messages("developer", parts.clone())), plain);
    let nulls = json!({
        "stream": null, "n": null, "stop": null, "temperature": null, "top_p": null, "logit_bias": null, "tools": null,
        "tool_choice": null, "response_format": null, "logprobs": null, "top_logprobs": null, "functions": null,
        "max_completion_tokens": null, "stream_options": null, "reasoning_effort": null, "chat_template_kwargs": null,
        "user": null, "grammar": null, "guided_json": null, "regex": null, "audio": null, "modalities": null,
    });
    assert_eq!(say(with(messages("system", parts.clone()), nulls)), plain);
    let nothing = json!({
        "tools": [], "stop": [], "logit_bias": {}, "n": 1, "n_probs": 5, "user": "somebody", "store": true,
        "metadata": {"a": "b"}, "service_tier": "auto", "modalities": ["text"], "response_format": {"type": "text"},
        "chat_template_kwargs": {}, "max_tokens": 3, "max_completion_tokens": 24, "parallel_tool_calls": true,
    });
    assert_eq!(say(with(messages("system", parts), nothing)), plain);
}

/// Greedy answers choose the likeliest token, of which the probabilities tell.
#[test]
fn probabilities_are_told() {
    let server = Setup::default().run();
    let body = asks(json!({"temperature": 0, "logprobs": true, "top_logprobs": 20}));
    let answer = server.answered(CHAT, &body);
    let choice = &answer["choices"][0];
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), 24);
    let mut text = Vec::new();
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 20);
        let of = |token: &Value| token["logprob"].as_f64().unwrap();
        assert_eq!((&top[0]["token"], of(&top[0])), (&token["token"], of(token)));
        let sum: f64 = top.iter().map(|token| of(token).exp()).sum();
        assert!(sum <= 1.0 + 1e-9, "{sum}");
        assert!(top.windows(2).all(|pair| of(&pair[0]) >= of(&pair[1])));
        let bytes = token["bytes"].as_array().unwrap();
        text.extend(bytes.iter().map(|byte| byte.as_u64().unwrap() as u8));
    }
    let text = String::from_utf8(text).unwrap();
    let content = choice["message"]["content"].as_str().unwrap();
    // SentencePiece's space in front of the text is not shown.
    assert_eq!(text.trim_start(), content.trim_start());
    let none = server.answered(CHAT, &asks(json!({"logprobs": true})));
    assert_eq!(
        none["choices"][0]["logprobs"]["content"][0]["top_logprobs"],
        json!([])
    );
}

#[test]
fn a_stop_text_ends_an_answer() {
    let server = Setup::default().run();
    let say = |more: Value| server.answered(CHAT, &asks(more))["choices"][0].clone();
    let whole = say(json!({}));
    let whole = whole["message"]["content"].as_str().unwrap();
    let stop: String = whole.chars().skip(10).take(5).collect();
    let before = whole.split(&stop).next().unwrap();
    for stops in [json!(stop), json!(["never said", stop, ""])] {
        let cut = say(json!({"stop": stops}));
        assert_eq!(cut["message"]["content"], before);
        assert_eq!(cut["finish_reason"], "stop");
    }
}

/// A bias decides what is said, and none is as good as 0.
#[test]
fn a_bias_decides() {
    let server = Setup::default().run();
    let (a, b) = (server.served.tokenizer.token("\u{2581}the").unwrap(), 300);
    let bias = json!({a.to_string(): 100, b.to_string(): -100});
    let answer = server.answered(CHAT, &asks(json!({"logit_bias": bias, "max_tokens": 5})));
    assert_eq!(answer["choices"][0]["message"]["content"], "the the the the the");
}

/// An answer goes on from what it is told, as Mistral's does.
#[test]
fn an_answer_goes_on_from_its_prefix() {
    let server = Setup {
        template: "v7",
        vocabulary: with_control_tokens,
        ..Setup::default()
    };
    let server = server.run();
    let messages = json!([
        {"role": "user", "content": "Tell me of the fox."},
        {"role": "assistant", "content": "Once upon a time", "prefix": true},
    ]);
    let body = asks(json!({"messages": messages, "temperature": 0}));
    let answer = server.answered(CHAT, &body);
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.starts_with("Once upon a time"), "{text}");
    assert!(text.len() > "Once upon a time".len() + 20, "{text}");
    let chunks = server.chunks(CHAT, &body);
    let pieces = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.collect::<String>(), text);
}

/// Thoughts stand apart from what is said, and count.
#[test]
fn thoughts_stand_apart() {
    let server = Setup {
        template: "v13",
        vocabulary: with_control_tokens,
        ..Setup::default()
    };
    let server = server.run();
    let token = |name: &str| server.served.tokenizer.token(name).unwrap();
    let (begin, end) = (token("[THINK]"), token("[/THINK]"));
    let grammar = format!("start: <[{begin}]> /[a-z ]{{5,9}}/ <[{end}]> /[a-z ]{{5,9}}/");
    let body = asks(json!({"grammar": grammar}));
    let answer = server.answered(CHAT, &body);
    let message = &answer["choices"][0]["message"];
    let of = |key: &str| message[key].as_str().unwrap();
    assert!((1..=9).contains(&of("reasoning_content").len()), "{message}");
    assert!((1..=9).contains(&of("content").len()), "{message}");
    let details = &answer["usage"]["completion_tokens_details"];
    assert!(details["reasoning_tokens"].as_u64().unwrap() >= 3, "{answer}");
    let chunks = server.chunks(CHAT, &body);
    for key in ["content", "reasoning_content"] {
        let pieces = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str());
        assert_eq!(pieces.collect::<String>(), of(key));
    }
    // A conversation may be told what was thought.
    let messages = json!([
        {"role": "user", "content": "Tell me of the fox."},
        {"role": "assistant", "content": of("content"), "reasoning_content": of("reasoning_content")},
        {"role": "user", "content": "Go on."},
    ]);
    let with_thought = server.answered(CHAT, &asks(json!({"messages": messages})));
    let parts = json!([
        {"type": "thinking", "thinking": [{"type": "text", "text": of("reasoning_content")}]},
        {"type": "text", "text": of("content")},
    ]);
    let mut messages = messages.clone();
    messages[1] = json!({"role": "assistant", "content": parts});
    let with_parts = server.answered(CHAT, &asks(json!({"messages": messages})));
    assert_eq!(with_thought["choices"], with_parts["choices"]);
    messages[1] = json!({"role": "assistant", "content": of("content")});
    let without = server.answered(CHAT, &asks(json!({"messages": messages})));
    let tokens = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens(&with_parts) > tokens(&without));
}

/// Jinja templates see texts where they know no parts, and what variables say.
#[test]
fn jinja_templates_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jinja");
    let template = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% if m.mood %} ({{ m.mood }}){% endif %}; \
                    {% endfor %}{{ tone | default('calm') }}";
    std::fs::write(&path, template).unwrap();
    let server = Setup {
        template: Box::leak(path.display().to_string().into_boxed_str()),
        ..Setup::default()
    };
    let server = server.run();
    let tokens = |more: Value| {
        let answer = server.answered(CHAT, &asks(more));
        answer["usage"]["prompt_tokens"].as_u64().unwrap() as usize
    };
    let count = |text: &str| server.served.text_prompt(text).len();
    let parts = json!([{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]);
    let messages = json!([{"role": "developer", "content": parts, "mood": "glad"}]);
    assert_eq!(
        tokens(json!({"messages": messages, "chat_template_kwargs": {"tone": "loud and clear"}})),
        count("system: One.\n\nTwo. (glad); loud and clear")
    );
    assert_eq!(tokens(json!({})), count("user: Tell me of the fox.; calm"));
}
