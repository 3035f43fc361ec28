//! Which template a file needs.

use std::collections::HashMap;

use bise_format::gguf::Metadata;
use bise_model::chat::{ChatError, Conversation, Message, Template, VERSION_KEY, Version};
use bise_model::tokenizer::{Tokenizer, Vocabulary};

use super::{FORMATS, FORMS, metadata, read};

const CHATML: &str =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

/// What is found in `metadata` with this Jinja template.
fn detect(metadata: Metadata, jinja: Option<&str>) -> Option<Template> {
    try_detect(metadata, jinja).unwrap()
}

fn try_detect(mut metadata: Metadata, jinja: Option<&str>) -> Result<Option<Template>, ChatError> {
    if let Some(jinja) = jinja {
        metadata.insert("tokenizer.chat_template", jinja);
    }
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(&metadata).unwrap()).unwrap();
    Template::detect(&metadata, &tokenizer)
}

fn version(template: Option<Template>) -> Option<Version> {
    match template {
        Some(Template::Mistral(version)) => Some(version),
        _ => None,
    }
}

#[test]
fn templates_of_mistral_common_tell_the_version() {
    let templates: HashMap<String, String> =
        serde_json::from_slice(&read("chat/templates.json")).unwrap();
    // mistral-common 1.13 makes no template for v15.
    for format in FORMATS.into_iter().filter(|&format| format != "v15-tekken") {
        let mut metadata = metadata(format);
        metadata.remove(VERSION_KEY);
        assert_eq!(
            version(detect(metadata, Some(&templates[format]))),
            Some(FORMS[format].0),
            "{format}"
        );
    }
}

#[test]
fn vocabularies_alone_tell_the_version_or_nearly() {
    for (format, expected) in [
        ("v1", Version::V1),
        ("v2", Version::V3),
        ("v3", Version::V3),
        ("v7", Version::V7),
        ("v3-tekken", Version::V3),
        ("v7-tekken", Version::V3),
        ("v11-tekken", Version::V11),
        ("v13-tekken", Version::V13),
    ] {
        let mut metadata = metadata(format);
        metadata.remove(VERSION_KEY);
        assert_eq!(version(detect(metadata, None)), Some(expected), "{format}");
    }
}

#[test]
fn the_noted_version_decides() {
    let mut metadata = metadata("v3-tekken");
    assert_eq!(metadata.str(VERSION_KEY).unwrap(), Some("v3"));
    metadata.insert(VERSION_KEY, "v7");
    assert_eq!(version(detect(metadata.clone(), None)), Some(Version::V7));
    metadata.insert(VERSION_KEY, "v99");
    assert!(detect(metadata.clone(), None).is_none());
    assert!(matches!(detect(metadata, Some(CHATML)), Some(Template::Jinja(_))));
}

#[test]
fn other_templates_are_used_as_they_are() {
    assert!(matches!(
        detect(metadata("v1"), Some(CHATML)),
        Some(Template::Jinja(_))
    ));
    // A template that does not compile is told of.
    let error = try_detect(metadata("v1"), Some("a\n{% for"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("chat template default, line 2"), "{error}");
}

#[test]
fn names_are_versions_the_files_own_or_files() {
    let mut metadata = metadata("v1");
    for (name, expected) in [
        ("v1", Version::V1),
        ("mistral-v3", Version::V3),
        ("v7-tekken", Version::V7),
        ("v13", Version::V13),
    ] {
        assert_eq!(version(Template::from_name(name, &metadata).ok()), Some(expected));
    }
    let error = |name: &str, metadata: &Metadata| {
        Template::from_name(name, metadata).unwrap_err().to_string()
    };
    assert_eq!(
        error("v4", &metadata),
        "`v4` is neither a chat format (v1, v2, v3, v7, v11, v13, v15, gguf) nor a file"
    );
    assert!(error("gguf", &metadata).contains("tokenizer.chat_template"));
    metadata.insert(
        "tokenizer.chat_template",
        "{{ messages[0].content }}\n{% endif %}",
    );
    assert!(
        error("gguf", &metadata).contains("default, line 2"),
        "{}",
        error("gguf", &metadata)
    );

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.jinja");
    std::fs::write(&path, "{{ messages[-1].content }}!").unwrap();
    let template = Template::from_name(path.to_str().unwrap(), &metadata).unwrap();
    let tokenizer = &FORMS["v1"].1;
    let ids = template.encode(tokenizer, &[Message::user("Hi")], &[]).unwrap();
    assert_eq!(tokenizer.decode(&ids), "Hi!");
    assert!(
        error(directory.path().to_str().unwrap(), &metadata)
            .contains(directory.path().to_str().unwrap())
    );
}

/// With words of Mistral's that are used otherwise.
const LLAMA_2: &str = "{% for m in messages %}{% if m.role == 'system' %}{{ bos_token + '[INST] <<SYS>>\\n' + m.content + '\\n<</SYS>>\\n\\n' }}\
     {% elif m.role == 'user' %}{{ m.content + ' [/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}";

#[test]
fn what_a_template_writes_decides() {
    for format in ["v1", "v3", "v7-tekken", "v13-tekken"] {
        // Whatever version is noted.
        let found = detect(metadata(format), Some(LLAMA_2));
        assert!(matches!(found, Some(Template::Jinja(_))), "{format}");
        let own: HashMap<String, String> =
            serde_json::from_slice(&read("chat/templates.json")).unwrap();
        let found = detect(metadata(format), Some(&own[format]));
        assert_eq!(version(found), Some(FORMS[format].0), "{format}");
        // A system prompt of its own is not Mistral's format.
        let more = own[format].replace(
            "default_system_message = ''",
            "default_system_message = 'Be kind.'",
        );
        let found = detect(metadata(format), Some(&more));
        assert!(matches!(found, Some(Template::Jinja(_))), "{format}");
    }
}

#[test]
fn named_templates_are_chosen_as_in_transformers() {
    let mut metadata = metadata("v1");
    metadata.insert("tokenizer.chat_template.tool_use", "tools {{ tools | length }}");
    metadata.insert("tokenizer.chat_template.rag", "rag");
    let tokenizer = &FORMS["v1"].1;
    let text = |template: &Template, json: &str| {
        let conversation = Conversation::from_json(json).unwrap();
        let ids = template.encode_conversation(tokenizer, &conversation);
        ids.map(|ids| tokenizer.decode(&ids))
            .map_err(|error| error.to_string())
    };
    let plain = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    let tooled = r#"{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function", "function": {"name": "f"}}]}"#;

    let without = Template::detect(&metadata, tokenizer).unwrap().unwrap();
    assert_eq!(text(&without, tooled).unwrap(), "tools 1");
    let error = text(&without, plain).unwrap_err();
    assert!(
        error.contains("none by default") && error.contains("tool_use, rag"),
        "{error}"
    );

    metadata.insert("tokenizer.chat_template", "plain {{ messages[0].content }}");
    let both = Template::detect(&metadata, tokenizer).unwrap().unwrap();
    assert_eq!(text(&both, plain).unwrap(), "plain Hi");
    assert_eq!(text(&both, tooled).unwrap(), "tools 1");
    assert_eq!(both.describe(), "Jinja (default, tool_use, rag)");
    let rag = Template::from_name("rag", &metadata).unwrap();
    assert_eq!(text(&rag, tooled).unwrap(), "rag");
    let error = Template::from_name("none", &metadata).unwrap_err().to_string();
    assert!(error.contains("gguf, default, tool_use, rag)"), "{error}");
}
