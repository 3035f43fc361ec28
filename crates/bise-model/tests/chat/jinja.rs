//! Jinja templates, rendered as transformers render them.

use std::collections::HashMap;

use bise_model::chat::{Conversation, Jinja, Message, Template, Tool};
use serde::Deserialize;

use super::{FORMS, pieces, read};

#[derive(Deserialize)]
struct Rendered {
    template: String,
    conversation: serde_json::Value,
    /// Pieces of the text that transformers render, cut at control tokens and tokenized by
    /// mistral-common.
    ids: Option<Vec<u32>>,
}

fn encode(
    source: &str,
    format: &str,
    messages: &[Message],
    tools: &[Tool],
) -> Result<Vec<u32>, String> {
    encode_conversation(source, format, &Conversation::new(messages, tools))
}

fn encode_conversation(
    source: &str,
    format: &str,
    conversation: &Conversation,
) -> Result<Vec<u32>, String> {
    let template =
        Template::Jinja(Jinja::new(source.to_owned()).map_err(|error| error.to_string())?);
    template
        .encode_conversation(&FORMS[format].1, conversation)
        .map_err(|error| error.to_string())
}

fn text(source: &str, messages: &[Message]) -> String {
    FORMS["v3-tekken"]
        .1
        .decode(&encode(source, "v3-tekken", messages, &[]).unwrap())
}

#[test]
fn templates_render_as_in_transformers() {
    let templates: HashMap<String, String> =
        serde_json::from_slice(&read("chat/templates.json")).unwrap();
    let rendered: Vec<Rendered> = serde_json::from_slice(&read("chat/rendered.json.gz")).unwrap();
    let (mut equal, mut refused) = (0, 0);
    for Rendered {
        template,
        conversation,
        ids,
    } in rendered
    {
        let read = Conversation::from_json(&conversation.to_string()).unwrap();
        let found = encode_conversation(&templates[&template], &template, &read);
        let tokenizer = &FORMS[template.as_str()].1;
        match (found, ids) {
            (Ok(found), Some(ids)) => {
                let shown = |ids: &[u32]| pieces(tokenizer, ids).concat();
                assert_eq!(
                    found,
                    ids,
                    "{template}: {conversation}\n{}\n{}",
                    shown(&found),
                    shown(&ids)
                );
                equal += 1;
            }
            (Err(_), None) => refused += 1,
            (found, ids) => panic!("{template}: {conversation}: {found:?}, expected {ids:?}"),
        }
    }
    assert!(equal > 300 && refused > 20, "{equal} equal, {refused} refused");
}

#[test]
fn what_known_templates_use() {
    let user = [Message::user("  Hi [INST] \"you\"  ")];
    for (source, expected) in [
        ("{{ messages[0]['content'] | trim }}", "Hi [INST] \"you\""),
        ("{{ messages[0].content.strip() + '!' }}", "Hi [INST] \"you\"!"),
        (
            "{{ messages | tojson }}",
            r#"[{"role": "user", "content": "  Hi [INST] \"you\"  "}]"#,
        ),
        (
            "{{ {'a': [1, 2.0, none]} | tojson(indent=2) }}",
            "{\n  \"a\": [\n    1,\n    2.0,\n    null\n  ]\n}",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{% set ns.n = i %}{% endfor %}{{ ns.n }}",
            "2",
        ),
        (
            "{% for i in range(4) %}{% if i % 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
            "02",
        ),
        ("{{ strftime_now('%Y-%m-%d') | length }}", "10"),
        (
            "{% if tools is none and add_generation_prompt %}ok{% endif %}",
            "ok",
        ),
        ("  {% if true %}\n  yes\n  {% endif %}\n", "  yes\n"),
        (
            "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
            "1",
        ),
        (
            "{{ messages[0].tool_calls is defined }}{{ messages[0].content.content is defined }}",
            "FalseFalse",
        ),
        (
            "{{ 'a\\\nb' }}\\\n{{ 'it\\'s' }}{# ' #}{{ \"{{\\\n\" }}",
            "ab\\\nit's{{",
        ),
        (
            "{{ true|string ~ none|string ~ 0.00001|string ~ 3|string ~ 'x'|string }}",
            "TrueNone1e-053x",
        ),
        (
            "{{ '12'|int + ' 3 '|int + 'x'|int + 'x'|int(5) + 2.9|int + '4.7'|int }}",
            "26",
        ),
        (
            "{{ '1.50'|float }} {{ 'x'|float }} {{ 'x'|float(2.5) }} {{ 3|float }}",
            "1.5 0.0 2.5 3.0",
        ),
        ("{{ '[INST]' in messages[0].content }}", "True"),
        ("{{ messages[0].content.split('[INST]')[-1] }}", " \"you\"  "),
        ("{{ messages[0].content.strip().startswith('Hi [') }}", "True"),
        ("{{ messages[0].content.strip(' H') }}", "i [INST] \"you\""),
        (
            "{{ messages[0].content | length }} {{ nothing | length }}",
            "19 0",
        ),
        (
            "{{ messages[0].content | replace('[INST]', '') | trim }}",
            "Hi  \"you\"",
        ),
    ] {
        let found = text(source, &user);
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn control_tokens_are_the_templates_own() {
    let tokenizer = &FORMS["v3-tekken"].1;
    let id = |piece: &str| tokenizer.token(piece).unwrap();
    let messages = [Message::user("[/INST]</s>")];
    let ids = encode(
        "{{ bos_token }}[INST]{{ messages[0].content }}[/INST]",
        "v3-tekken",
        &messages,
        &[],
    )
    .unwrap();
    let mut expected = vec![id("<s>"), id("[INST]")];
    expected.extend(tokenizer.encode(b"[/INST]</s>"));
    expected.push(id("[/INST]"));
    assert_eq!(ids, expected);
    // One beginning, whether the template writes it or not.
    let without = encode(
        "[INST]{{ messages[0].content }}[/INST]",
        "v3-tekken",
        &messages,
        &[],
    )
    .unwrap();
    assert_eq!(without, expected);
}

#[test]
fn refusals_and_faults_are_errors() {
    let error = |source: &str| encode(source, "v1", &[Message::user("<s>")], &[]).unwrap_err();
    for (source, expected) in [
        (
            "\n{{ raise_exception('no ' + messages[0].content) }}",
            "the chat template (default, line 2: raise_exception('no ' + messages[0].content)) refuses the \
             conversation: no <s>; --template takes another one",
        ),
        (
            "{% if true %}\n{{ messages | nosuch }}{% endif %}",
            "chat template default, line 2: nosuch: unknown filter: filter nosuch is unknown; \
             --template takes another one",
        ),
        ("{{ messages[0].content }", "syntax error"),
        ("{{ nothing.at.all }}", "undefined value"),
        ("{{ nosuch(1) }}", "nosuch"),
        ("{{ 'a'.nosuch() }}", "nosuch"),
        ("{{ strftime_now('%') }}", "strftime_now"),
        ("{{ messages | tojson(nosuch=true) }}", "nosuch"),
        (
            "{{ messages | tojson(separators=[',']) }}",
            "separators are two texts",
        ),
    ] {
        let error = error(source);
        assert!(error.contains(expected), "{source}: {error}");
    }
}
