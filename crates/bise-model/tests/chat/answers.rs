//! Answers of models, read by their tokens.

use bise_model::chat::{Content, Conversation, Message, Part, Template, Voice};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{FORMS, read};

#[derive(Deserialize)]
struct Answer {
    format: String,
    message: Value,
    ids: Vec<u32>,
}

/// Arguments in one form.
fn parsed(message: &Message) -> (String, Vec<(Option<String>, String, Value)>) {
    let Message::Assistant {
        content,
        tool_calls,
        ..
    } = message
    else {
        panic!("{message:?}");
    };
    let call = |call: &bise_model::chat::ToolCall| {
        (
            call.id.clone(),
            call.name.clone(),
            serde_json::from_str(&call.arguments).unwrap(),
        )
    };
    (content.text().into_owned(), tool_calls.iter().map(call).collect())
}

#[test]
fn answers_are_read_as_they_were_written() {
    let answers: Vec<Answer> = serde_json::from_slice(&read("chat/answers.json")).unwrap();
    assert!(answers.len() >= 30);
    let mut calls = 0;
    for answer in answers {
        let (version, tokenizer) = &FORMS[answer.format.as_str()];
        let json = json!([answer.message]).to_string();
        let expected = Conversation::from_json(&json).unwrap().into_messages().remove(0);
        let found = Template::Mistral(*version)
            .parse_answer(tokenizer, &answer.ids)
            .unwrap();
        let (mut found, expected) = (parsed(&found), parsed(&expected));
        if ["v13-tekken", "v15-tekken"].contains(&answer.format.as_str()) {
            // Its answers have no ids: they get some.
            for (found, expected) in found.1.iter_mut().zip(&expected.1) {
                assert_eq!(found.0.as_ref().map(|id| id.len()), Some(9));
                found.0.clone_from(&expected.0);
            }
        }
        assert_eq!(found, expected, "{}", answer.format);
        calls += found.1.len();
    }
    assert!(calls > 20);
}

#[test]
fn malformed_calls_are_errors() {
    for (format, text) in [
        ("v3", "[{\"name\": "),
        ("v3", "[{\"arguments\": {}}]"),
        ("v3", "get_weather"),
        ("v7-tekken", "3"),
    ] {
        let (version, tokenizer) = &FORMS[format];
        let mut ids = vec![tokenizer.token("[TOOL_CALLS]").unwrap()];
        ids.extend(tokenizer.encode(text.as_bytes()));
        let error = Template::Mistral(*version)
            .parse_answer(tokenizer, &ids)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the model's tool call cannot be read"),
            "{error}"
        );
    }
    let (version, tokenizer) = &FORMS["v11-tekken"];
    let mut ids = vec![tokenizer.token("[TOOL_CALLS]").unwrap()];
    ids.extend(tokenizer.encode(b"f"));
    ids.push(tokenizer.token("[ARGS]").unwrap());
    ids.extend(tokenizer.encode(b"{"));
    let error = Template::Mistral(*version)
        .parse_answer(tokenizer, &ids)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the model's tool call cannot be read: its arguments are no JSON: \"{\""
    );
}

/// A call read from one answer can be sent back in the next turn, in every version that knows
/// tools.
#[test]
fn calls_go_back_into_the_conversation() {
    for format in [
        "v2",
        "v3",
        "v7",
        "v7-tekken",
        "v11-tekken",
        "v13-tekken",
        "v15-tekken",
    ] {
        let (version, tokenizer) = &FORMS[format];
        let template = Template::Mistral(*version);
        let mut ids = vec![template.tool_calls_token(tokenizer).unwrap()];
        match tokenizer.token("[ARGS]") {
            Some(args) => {
                ids.extend(tokenizer.encode(b"clock"));
                ids.push(args);
                ids.extend(tokenizer.encode(b"{}"));
            }
            None => ids.extend(tokenizer.encode(br#"[{"name": "clock", "arguments": {}}]"#)),
        }
        let answer = template.parse_answer(tokenizer, &ids).unwrap();
        let Message::Assistant { tool_calls, .. } = &answer else {
            panic!("{answer:?}");
        };
        let result = Message::Tool {
            content: "noon".into(),
            call_id: tool_calls[0].id.clone(),
            name: Some("clock".into()),
        };
        let messages = [Message::user("What time is it?"), answer, result];
        let encoded = template.encode(tokenizer, &messages, &[]);
        assert!(encoded.is_ok(), "{format}: {encoded:?}");
    }
}

/// Thoughts, text and calls are told apart, whichever are there, and go back into the conversation
/// as they came.
#[test]
fn thoughts_are_told_apart() {
    let (version, tokenizer) = &FORMS["v13-tekken"];
    let template = Template::Mistral(*version);
    let token = |piece: &str| tokenizer.token(piece).unwrap();
    let (begin, end, eos) = (token("[THINK]"), token("[/THINK]"), token("</s>"));
    let hm = tokenizer.encode(b"Hm, [/THINK] so");
    let text = tokenizer.encode(b"Bise.");
    let thinking = |closed| Part::Thinking {
        thinking: "Hm, [/THINK] so".into(),
        closed,
    };
    let said = || Part::Text {
        text: "Bise.".into(),
    };
    let whole = [&[begin], &hm[..], &[end], &text, &[eos], &hm].concat();
    let cases: [(&[u32], Vec<Part>); 7] = [
        (&whole, vec![thinking(true), said()]),
        (&whole[..1 + hm.len()], vec![thinking(false)]),
        (&whole[..2 + hm.len()], vec![thinking(true)]),
        // The prompt began the thought.
        (&whole[1..], vec![thinking(true), said()]),
        (&text, vec![said()]),
        (
            &[begin, end],
            vec![Part::Thinking {
                thinking: String::new(),
                closed: true,
            }],
        ),
        (&[], vec![]),
    ];
    for (ids, parts) in cases {
        let answer = template.parse_answer(tokenizer, ids).unwrap();
        assert_eq!(answer, Message::assistant(Content::from(parts)), "{ids:?}");
    }
    let answer = template.parse_answer(tokenizer, &whole).unwrap();
    assert_eq!(answer.text(), "Bise.");
    assert_eq!(answer.content().thoughts().as_deref(), Some("Hm, [/THINK] so"));
    let question = Message::user("What is it called?");
    let start = template
        .encode(tokenizer, std::slice::from_ref(&question), &[])
        .unwrap();
    let again = [question.clone(), answer.clone(), question.clone()];
    let ids = template.encode(tokenizer, &again, &[]).unwrap();
    assert!(ids[start.len()..].starts_with(&whole[..whole.len() - hm.len()]));
    let json = json!([question.to_json(), answer.to_json(), question.to_json()]);
    assert_eq!(
        Conversation::from_json(&json.to_string()).unwrap().messages(),
        again
    );

    let mut voice = Voice::new(tokenizer);
    let heard: Vec<bool> = whole.iter().map(|&id| voice.hears(id)).collect();
    let expected = [vec![true; 2 + hm.len()], vec![false; text.len() + 1 + hm.len()]].concat();
    assert_eq!(heard, expected);
}
