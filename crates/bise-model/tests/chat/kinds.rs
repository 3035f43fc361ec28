//! Templates of many kinds, rendered as `apply_chat_template` of transformers does.

use std::collections::HashMap;

use bise_model::chat::{Conversation, Jinja, Template};
use bise_model::tokenizer::{TokenKind, Tokenizer, Vocabulary};
use serde::Deserialize;

use super::{read, tekken_with};

/// fixtures/chat/kinds.json.gz, written by tools/fixtures/chat_templates.py.
#[derive(Deserialize)]
struct Kinds<'a> {
    tokens: Vec<String>,
    templates: HashMap<String, String>,
    #[serde(borrow)]
    conversations: Vec<&'a serde_json::value::RawValue>,
    rendered: HashMap<String, Vec<Rendered>>,
}

#[derive(Deserialize)]
struct Rendered {
    /// `None` where the template refuses.
    text: Option<String>,
    /// Those of the template's own; `None` where it looks for control tokens in messages.
    controls: Option<Vec<String>>,
}

/// The text of tokens, and the control tokens in it.
fn written(tokenizer: &Tokenizer, ids: &[u32]) -> (String, Vec<String>) {
    let is_control = |id: u32| tokenizer.kind(id) == Some(TokenKind::Control);
    let (mut text, mut controls) = (String::new(), Vec::new());
    for group in ids.chunk_by(|&a, &b| !is_control(a) && !is_control(b)) {
        match group {
            [id] if is_control(*id) => {
                text.push_str(tokenizer.piece(*id));
                controls.push(tokenizer.piece(*id).to_owned());
            }
            _ => text.push_str(&tokenizer.decode(group)),
        }
    }
    (text, controls)
}

#[test]
fn every_kind_renders_as_in_transformers() {
    let json = read("chat/kinds.json.gz");
    let kinds: Kinds = serde_json::from_slice(&json).unwrap();
    let metadata = tekken_with("v11", &kinds.tokens);
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(&metadata).unwrap()).unwrap();
    let (mut equal, mut refused, mut faults) = (0, 0, Vec::new());
    for (name, source) in &kinds.templates {
        let template = Template::Jinja(Jinja::new(source.clone()).unwrap());
        for (json, expected) in kinds.conversations.iter().zip(&kinds.rendered[name]) {
            let conversation = Conversation::from_json(json.get()).unwrap();
            let found = template.encode_conversation(&tokenizer, &conversation);
            match (found, &expected.text) {
                (Ok(ids), Some(text)) => {
                    let (found, controls) = written(&tokenizer, &ids);
                    // There is a beginning, whether the template writes it or not.
                    let begun = text.starts_with("<s>");
                    let text = if begun { text.clone() } else { format!("<s>{text}") };
                    let own = expected.controls.as_ref().map(|own| {
                        let begin = (!begun).then(|| "<s>".to_owned());
                        begin.into_iter().chain(own.iter().cloned()).collect::<Vec<_>>()
                    });
                    if found != text {
                        faults.push(format!(
                            "{name}: {json}\n found    {found:?}\n expected {text:?}"
                        ));
                    } else if own.as_ref().is_some_and(|own| *own != controls) {
                        faults.push(format!(
                            "{name}: {json}\n found    {controls:?}\n expected {own:?}"
                        ));
                    }
                    equal += 1;
                }
                (Err(_), None) => refused += 1,
                (Ok(ids), None) => faults.push(format!(
                    "{name}: {json}\n found {:?}\n expected a refusal",
                    written(&tokenizer, &ids).0
                )),
                (Err(error), Some(text)) => {
                    faults.push(format!("{name}: {json}\n {error}\n expected {text:?}"))
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(equal > 700 && refused > 100, "{equal} equal, {refused} refused");
}
