//! What holds for every conversation.

use bise_model::chat::{ChatError, Content, Jinja, Message, Template, Tool, ToolCall, Version};
use bise_model::tokenizer::{TokenKind, Tokenizer};
use proptest::prelude::*;

use super::{FORMATS, FORMS};

/// Texts with what has a meaning to templates well mixed in.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => any::<String>(),
        2 => "[ a-c\n]{0,12}",
        4 => prop::sample::select(vec![
            "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]", "[SYSTEM_PROMPT]", "<unk>", "[IN", "ST]", "INST", "<", ">", "[", "]", "/s",
            "\u{100000}", "\u{100001}", "{{ bos_token }}", "\0", "\u{200b}", "<SPECIAL_30>", "SPECIAL_30", "[control_9]",
        ]).prop_map(String::from),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// Conversations that every version allows: an answer that is not empty after each user message but
/// the last.
fn conversations() -> impl Strategy<Value = Vec<Message>> {
    (
        prop::option::of(texts()),
        prop::collection::vec((texts(), texts()), 0..4),
        texts(),
    )
        .prop_map(|(system, turns, last)| {
            let mut messages: Vec<Message> = system.into_iter().map(Message::system).collect();
            for (user, assistant) in turns {
                messages.push(Message::user(user));
                messages.push(Message::assistant(format!("{assistant}.")));
            }
            messages.push(Message::user(last));
            messages
        })
}

fn controls(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let is_control = |id: &&u32| {
        matches!(
            tokenizer.kind(**id),
            None | Some(TokenKind::Control | TokenKind::Unknown)
        )
    };
    ids.iter()
        .filter(is_control)
        .map(|&id| tokenizer.piece(id).to_owned())
        .collect()
}

/// The same conversation with harmless texts.
fn harmless(messages: &[Message]) -> Vec<Message> {
    let word = |text: &str| if text.is_empty() { "" } else { "word" };
    let one = |message: &Message| match message {
        Message::System { content } => Message::system(word(&content.text())),
        Message::User { content } => Message::user(word(&content.text())),
        Message::Assistant { tool_calls, .. } => Message::Assistant {
            content: "word".into(),
            tool_calls: tool_calls.clone(),
            prefix: false,
        },
        tool => tool.clone(),
    };
    messages.iter().map(one).collect()
}

/// Every way for text to meet structure: brackets of the template's own around it, JSON, trimming,
/// its own spaces.
const BRACKETS: &str = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]<{{ m.content | trim }}>\
     {{ m.content }}{{ m.content }}[INST]{{ m | tojson }}[/INST]{{ m.content.strip() }}{% endfor %}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn only_the_template_makes_control_tokens(messages in conversations()) {
        for format in FORMATS {
            let (version, tokenizer) = &FORMS[format];
            let template = Template::Mistral(*version);
            let ids = template.encode(tokenizer, &messages, &[]).unwrap();
            let expected = template.encode(tokenizer, &harmless(&messages), &[]).unwrap();
            prop_assert_eq!(controls(tokenizer, &ids), controls(tokenizer, &expected), "{}", format);
        }
    }

    #[test]
    fn jinja_does_not_either(messages in conversations()) {
        let template = Template::Jinja(Jinja::new(BRACKETS.into()).unwrap());
        for format in ["v1", "v3", "v3-tekken"] {
            let tokenizer = &FORMS[format].1;
            let ids = template.encode(tokenizer, &messages, &[]).unwrap();
            let expected = template.encode(tokenizer, &harmless(&messages), &[]).unwrap();
            prop_assert_eq!(controls(tokenizer, &ids), controls(tokenizer, &expected), "{}", format);
        }
    }

    /// Texts, wherever they stand in tools, calls and results.
    #[test]
    fn neither_do_tools(text in texts(), other in texts()) {
        let call = ToolCall {
            id: Some("abcdefghi".into()),
            name: "f".into(),
            arguments: serde_json::json!({ &text: &other }).to_string(),
        };
        let build = |text: &str, call: ToolCall| {
            let result = Message::Tool { content: text.into(), call_id: Some("abcdefghi".into()), name: Some("f".into()) };
            [Message::user(text), Message::Assistant { content: Content::default(), tool_calls: vec![call], prefix: false }, result]
        };
        let tool = |text: &str| Tool {
            name: "f".into(),
            description: text.into(),
            parameters: serde_json::json!({ "properties": { text: { "description": text } } }).into(),
        };
        let plain = ToolCall { arguments: "{}".into(), ..call.clone() };
        for format in &FORMATS[1..] {
            let (version, tokenizer) = &FORMS[format];
            let template = Template::Mistral(*version);
            let ids = template.encode(tokenizer, &build(&text, call.clone()), &[tool(&other)]).unwrap();
            let expected = template.encode(tokenizer, &build("word", plain.clone()), &[tool("word")]).unwrap();
            prop_assert_eq!(controls(tokenizer, &ids), controls(tokenizer, &expected), "{}", format);
        }
    }

    /// A longer conversation begins with the tokens of the shorter one, so that a cache of keys and
    /// values can be kept: always in v7, v11 and v13 without tools; in v2 and v3 without a system
    /// prompt, which moves to the last user message there; in v1 always. Tools move to the last
    /// user message up to v11; v2 drops calls.
    #[test]
    fn longer_conversations_begin_with_shorter_ones(messages in conversations()) {
        for format in FORMATS {
            let (version, tokenizer) = &FORMS[format];
            let moves = matches!(version, Version::V2 | Version::V3);
            let messages: Vec<_> =
                messages.iter().filter(|m| !moves || m.role() != "system").cloned().collect();
            let template = Template::Mistral(*version);
            let whole = template.encode(tokenizer, &messages, &[]).unwrap();
            for end in 1..messages.len() {
                if matches!(messages[end - 1], Message::User { .. }) {
                    let ids = template.encode(tokenizer, &messages[..end], &[]).unwrap();
                    prop_assert!(whole.starts_with(&ids), "{}, {} messages", format, end);
                }
            }
        }
    }

    /// v13 lists tools first.
    #[test]
    fn tools_stay_in_place_in_v13(messages in conversations()) {
        let (version, tokenizer) = &FORMS["v13-tekken"];
        let tools = [Tool { name: "f".into(), description: String::new(), parameters: serde_json::json!({}).into() }];
        let template = Template::Mistral(*version);
        let whole = template.encode(tokenizer, &messages, &tools).unwrap();
        let first = messages.iter().position(|m| m.role() == "user").unwrap();
        let ids = template.encode(tokenizer, &messages[..=first], &tools).unwrap();
        prop_assert!(whole.starts_with(&ids));
    }

    /// An encoded answer is read back as it was said.
    #[test]
    fn answers_are_read_back(text in texts()) {
        for format in FORMATS {
            let (version, tokenizer) = &FORMS[format];
            let template = Template::Mistral(*version);
            let text = text.replace('\u{2581}', " ");
            let said = format!("{text}.");
            let start = template.encode(tokenizer, &[Message::user("Hi")], &[]).unwrap();
            let messages = [Message::user("Hi"), Message::assistant(said.clone()), Message::user("And?")];
            let ids = template.encode(tokenizer, &messages, &[]).unwrap();
            let answer = template.parse_answer(tokenizer, &ids[start.len()..]).unwrap();
            prop_assert_eq!(answer, Message::assistant(said), "{}", format);
        }
    }
}

#[test]
fn system_prompts_move_in_v3() {
    let (version, tokenizer) = &FORMS["v3"];
    let template = Template::Mistral(*version);
    let messages = ["system", "user", "assistant", "user"].map(|role| match role {
        "system" => Message::system("Be brief."),
        "user" => Message::user("Hi"),
        _ => Message::assistant("Hi."),
    });
    let (short, long) = (
        template.encode(tokenizer, &messages[..2], &[]).unwrap(),
        template.encode(tokenizer, &messages, &[]).unwrap(),
    );
    assert!(!long.starts_with(&short));
}

/// A template that would never end is stopped.
#[test]
fn endless_templates_are_stopped() {
    let endless =
        "{% macro f() %}{% for a in range(90000) %}{{ f() }}{% endfor %}{% endmacro %}{{ f() }}";
    let loops = "{% for a in range(90000) %}{% for b in range(90000) %}{% set c = a * b %}{% endfor %}{% endfor %}";
    for source in [endless, loops] {
        let template = Template::Jinja(Jinja::new(source.into()).unwrap());
        let error = template
            .encode(&FORMS["v1"].1, &[Message::user("Hi")], &[])
            .unwrap_err();
        assert!(
            matches!(error, ChatError::Jinja { .. } | ChatError::Refused { .. }),
            "{error}"
        );
    }
}
