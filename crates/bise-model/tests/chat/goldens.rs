//! Ids as mistral-common gives them.

use std::collections::{HashMap, HashSet};

use bise_model::chat::{ChatError, Message, Template};
use bise_model::tokenizer::{TokenKind, Tokenizer};

use super::{FORMATS, FORMS, Row, metadata, pieces, read, rows, vocabularies};

#[test]
fn conversations_equal_mistral_common() {
    let (encoded, refused) = compare(&rows("chat/goldens.json.gz"), 510);
    assert!(
        encoded > 3000 && refused > 500,
        "{encoded} encoded, {refused} refused"
    );
}

/// Thoughts, closed or not, answers that are to go on, contents in parts, and how much to think.
#[test]
fn requests_equal_mistral_common() {
    let (encoded, refused) = compare(&rows("chat/requests.json.gz"), 250);
    assert!(
        encoded > 600 && refused > 1000,
        "{encoded} encoded, {refused} refused"
    );
}

/// Compares at least so many conversations; gives how many of them, in all formats, both encode and
/// refuse.
fn compare(rows: &[Row], at_least: usize) -> (usize, usize) {
    assert!(rows.len() >= at_least);
    let (mut encoded, mut refused, mut faults) = (0, 0, Vec::new());
    for row in rows {
        let shown = &row.json[..row.json.find(",\"ids\"").unwrap()];
        for (format, expected) in &row.ids {
            let (version, tokenizer) = &FORMS[format.as_str()];
            let found =
                Template::Mistral(*version).encode_conversation(tokenizer, &row.conversation);
            match (found, expected) {
                (Ok(found), Some(expected)) if found == *expected => encoded += 1,
                (Ok(found), Some(expected)) => faults.push(format!(
                    "{format}: {shown} is\n{:?}, expected\n{:?}",
                    pieces(tokenizer, &found),
                    pieces(tokenizer, expected)
                )),
                (Err(_), None) => refused += 1,
                (Ok(_), None) => faults.push(format!("{format}: mistral-common refuses {shown}")),
                (Err(error), Some(_)) => faults.push(format!("{format}: {error} for {shown}")),
            }
        }
    }
    let some = faults.len().min(8);
    assert!(
        faults.is_empty(),
        "{} differ, such as\n{}",
        faults.len(),
        faults[..some].join("\n")
    );
    (encoded, refused)
}

/// Texts with a gap, as mistral-common's `encode_fim` has them; a vocabulary without the tokens is
/// refused.
#[test]
fn gaps_equal_mistral_common() {
    type Gaps = HashMap<String, Vec<(String, String, Vec<u32>)>>;
    let gaps: Gaps = serde_json::from_slice(&read("chat/infill.json")).unwrap();
    assert_eq!(gaps.len(), FORMATS.len() - 2);
    for (format, gaps) in gaps {
        let tokenizer = &FORMS[format.as_str()].1;
        for (prefix, suffix, expected) in gaps {
            let found = tokenizer
                .encode_infill(prefix.as_bytes(), suffix.as_bytes())
                .unwrap();
            assert_eq!(found, expected, "{format}: {prefix:?} {suffix:?}");
        }
    }
    for format in ["v1", "v2"] {
        let error = FORMS[format].1.encode_infill(b"a", b"b").unwrap_err().to_string();
        assert!(error.contains("[SUFFIX]"), "{error}");
    }
}

/// The control tokens that a conversation is made of, and no other, whatever its texts say.
#[test]
fn texts_make_no_control_token() {
    for row in rows("chat/goldens.json.gz") {
        for format in FORMATS {
            let (version, tokenizer) = &FORMS[format];
            let conversation = &row.conversation;
            let Ok(ids) = Template::Mistral(*version).encode_conversation(tokenizer, conversation)
            else {
                continue;
            };
            let count = |piece: &str| {
                let token = tokenizer
                    .token(piece)
                    .filter(|&id| tokenizer.kind(id) == Some(TokenKind::Control));
                ids.iter().filter(|&&id| Some(id) == token).count()
            };
            let role = |role: &str| {
                conversation
                    .messages()
                    .iter()
                    .filter(|m| m.role() == role)
                    .count()
            };
            assert_eq!(count("<s>"), 1, "{format}: {}", row.json);
            assert!(count("</s>") <= role("assistant"), "{format}: {}", row.json);
            // Before v7, a conversation begins with a user's message, if need be an empty one.
            assert!(count("[INST]") <= role("user") + 1, "{format}: {}", row.json);
            assert_eq!(count("[INST]"), count("[/INST]"), "{format}: {}", row.json);
            assert!(
                count("[SYSTEM_PROMPT]") <= role("system"),
                "{format}: {}",
                row.json
            );
            assert!(count("[TOOL_RESULTS]") <= role("tool"), "{format}: {}", row.json);
            assert!(count("[AVAILABLE_TOOLS]") <= usize::from(!conversation.tools().is_empty()));
            let structure: HashSet<_> = [
                "<s>",
                "</s>",
                "[INST]",
                "[/INST]",
                "[SYSTEM_PROMPT]",
                "[/SYSTEM_PROMPT]",
                "[TOOL_CALLS]",
                "[TOOL_RESULTS]",
                "[/TOOL_RESULTS]",
                "[TOOL_CONTENT]",
                "[AVAILABLE_TOOLS]",
                "[/AVAILABLE_TOOLS]",
                "[ARGS]",
                "[CALL_ID]",
                "[MODEL_SETTINGS]",
                "[/MODEL_SETTINGS]",
            ]
            .into();
            let controls = ids
                .iter()
                .filter(|&&id| tokenizer.kind(id) == Some(TokenKind::Control));
            for piece in pieces(tokenizer, &controls.copied().collect::<Vec<_>>()) {
                assert!(
                    structure.contains(piece.as_str()),
                    "{format}: {piece} in {}",
                    row.json
                );
            }
        }
    }
}

/// What the reader of `tekken.json` gives is what llama.cpp's converter gives.
#[test]
fn tekken_metadata_equals_the_converters() {
    let metadata = metadata("v3-tekken");
    let converted = vocabularies().converted;
    let sum = |key: &str| {
        let lines = metadata.strings(key).unwrap().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(lines.join("\n").as_bytes());
        serde_json::json!([lines.len(), crc.sum()])
    };
    assert_eq!(sum("tokenizer.ggml.tokens"), converted["tokens"]);
    assert_eq!(sum("tokenizer.ggml.merges"), converted["merges"]);
    let types = metadata.i32s("tokenizer.ggml.token_type").unwrap().unwrap();
    assert_eq!(
        types.iter().filter(|&&kind| kind == 3).count(),
        converted["types"]
    );
    let ids = ["bos", "eos", "unknown", "padding"];
    let ids = ids.map(|name| {
        metadata
            .u32(&format!("tokenizer.ggml.{name}_token_id"))
            .unwrap()
            .unwrap()
    });
    assert_eq!(serde_json::json!(ids), converted["ids"]);
    assert_eq!(metadata.str("tokenizer.ggml.model").unwrap(), Some("gpt2"));
    assert_eq!(metadata.str("tokenizer.ggml.pre").unwrap(), Some("tekken"));
}

#[test]
fn errors_name_the_message_or_the_token() {
    let error = |format: &str, messages: &[Message]| {
        let (version, tokenizer) = &FORMS[format];
        Template::Mistral(*version)
            .encode(tokenizer, messages, &[])
            .unwrap_err()
            .to_string()
    };
    let tool = Message::Tool {
        content: "22".into(),
        call_id: Some("abcdefghi".into()),
        name: None,
    };
    let user = || Message::user("Hi");
    assert_eq!(error("v3", &[]), "a conversation needs at least one message");
    let (said, found) = (
        "message 2 (tool): cannot follow a message of role user",
        error("v3", &[user(), tool.clone()]),
    );
    assert_eq!(found, said);
    let found = error("v7", &[user(), Message::assistant("Hi.")]);
    assert_eq!(
        found,
        "message 2 (assistant): an answer cannot be the last message; a user or a tool must speak"
    );
    let (_, v1): &(_, Tokenizer) = &FORMS["v1"];
    let found = Template::Mistral(super::Version::V7)
        .encode(v1, &[user()], &[])
        .unwrap_err();
    assert!(
        matches!(
            found,
            ChatError::Token {
                piece: "[INST]",
                ..
            }
        ),
        "{found}"
    );
}
