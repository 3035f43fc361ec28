//! Which template a file needs.
//!
//! A file's template is one of Mistral's if it writes a few conversations as a version of Mistral's
//! format does:
//!
//! ```text
//! the template's text, cut at control tokens  =  the tokens of the version's encoder, texts decoded
//! ```
//!
//! A space in front of a text does not count, as SentencePiece puts one there. A conversation with
//! tools counts where the template has something to say of tools.

use bise_format::gguf::Metadata;

use super::content::Content;
use super::conversation::Conversation;
use super::encoder::control_token;
use super::error::ChatError;
use super::jinja::Jinja;
use super::json::Json;
use super::message::{Message, Tool, ToolCall};
use super::template::Template;
use super::version::{VERSION_KEY, Version};
use crate::tokenizer::{Algorithm, TokenKind, Tokenizer};

/// A text that is cut at control tokens.
type Parts = Vec<Result<u32, String>>;

impl Template {
    /// The template that a file needs; `None` if it is not made for chats.
    ///
    /// The file's Jinja templates are used, unless what they write is a version of Mistral's
    /// format: its tokens are then built message by message. Without a template, the version that
    /// the quantizer noted decides, then the control tokens. A SentencePiece vocabulary of 32000
    /// pieces without any template is taken for Mistral 7B's or Mixtral's first one.
    ///
    /// # Errors
    /// When a template of the file is malformed.
    pub fn detect(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Option<Self>, ChatError> {
        let noted = metadata.str(VERSION_KEY).ok().flatten();
        let version = noted.map(Version::from_name);
        if let Some(jinja) = Jinja::of_file(metadata)? {
            return Ok(Some(match version_of(&jinja, tokenizer, version.flatten()) {
                Some(version) => Template::Mistral(version),
                None => Template::Jinja(jinja),
            }));
        }
        let version = version.unwrap_or_else(|| by_vocabulary(tokenizer));
        Ok(version.map(Template::Mistral))
    }
}

/// The version that a vocabulary alone tells of.
fn by_vocabulary(tokenizer: &Tokenizer) -> Option<Version> {
    let has = |piece| control_token(tokenizer, piece).is_some();
    let sentencepiece = tokenizer.vocabulary().algorithm == Algorithm::SentencePiece;
    match () {
        _ if !has("[INST]") => {
            (sentencepiece && tokenizer.vocabulary().len() == 32000).then_some(Version::V1)
        }
        // Tokens for thoughts tell the later one.
        _ if has("[ARGS]") && has("[MODEL_SETTINGS]") => Some(Version::V15),
        _ if has("[ARGS]") && has("[THINK]") => Some(Version::V13),
        _ if has("[ARGS]") => Some(Version::V11),
        // Nemo's vocabulary has tokens for system prompts, but its format does not use them.
        _ if sentencepiece && has("[SYSTEM_PROMPT]") => Some(Version::V7),
        _ => Some(Version::V3),
    }
}

/// The version of Mistral's format that the template writes: `noted` if it is among them, else the
/// newest.
fn version_of(jinja: &Jinja, tokenizer: &Tokenizer, noted: Option<Version>) -> Option<Version> {
    let (plain, tooled) = (plain_probes(), [tool_probe()]);
    let written = jinja.rendered(tokenizer, &plain);
    let written: Vec<Parts> = written
        .into_iter()
        .map(|parts| Some(normal(tokenizer, parts?)))
        .collect::<Option<_>>()?;
    let with_tools = jinja.rendered(tokenizer, &tooled).pop().flatten();
    let with_tools = with_tools.map(|parts| normal(tokenizer, parts)).filter(|parts| {
        let mut texts = parts.iter().filter_map(|part| part.as_ref().err());
        texts.any(|text| text.contains(TOOL))
    });
    let writes = |version: Version, probe: &Conversation, parts: &Parts| {
        let ids = version.encode(tokenizer, probe.messages(), probe.tools(), None);
        ids.is_ok_and(|ids| normal(tokenizer, decoded(tokenizer, &ids)) == *parts)
    };
    let mut found: Vec<Version> = Version::ALL
        .into_iter()
        // Without settings v15 writes what v13 does.
        .filter(|&version| version < Version::V15 || tokenizer.vocabulary().reasoning.is_some())
        .filter(|&version| {
            plain
                .iter()
                .zip(&written)
                .all(|(probe, parts)| writes(version, probe, parts))
        })
        .collect();
    match &with_tools {
        Some(parts) => found.retain(|&version| writes(version, &tooled[0], parts)),
        None => {
            let likely = by_vocabulary(tokenizer).filter(|version| found.contains(version));
            found.extend(likely);
        }
    }
    noted.filter(|version| found.contains(version)).or(found.pop())
}

/// Tokens as text, cut at control tokens.
fn decoded(tokenizer: &Tokenizer, ids: &[u32]) -> Parts {
    let is_control = |id: u32| tokenizer.kind(id) == Some(TokenKind::Control);
    let groups = ids.chunk_by(|&a, &b| !is_control(a) && !is_control(b));
    let part = |group: &[u32]| match group {
        [id] if is_control(*id) => Ok(*id),
        text => Err(tokenizer.decode(text)),
    };
    groups.map(part).collect()
}

/// Parts with the token that begins a text, and texts without the space in front that SentencePiece
/// puts there.
fn normal(tokenizer: &Tokenizer, parts: Parts) -> Parts {
    let vocabulary = tokenizer.vocabulary();
    let text = |text: String| match text.strip_prefix(' ') {
        Some(rest) if vocabulary.add_space_prefix => rest.to_owned(),
        _ => text,
    };
    let mut parts: Parts = parts.into_iter().map(|part| part.map_err(text)).collect();
    parts.retain(|part| part.as_ref() != Err(&String::new()));
    if let Some(bos) = vocabulary.bos.filter(|&bos| parts.first() != Some(&Ok(bos))) {
        parts.insert(0, Ok(bos));
    }
    parts
}

/// With and without a system prompt, once and twice.
fn plain_probes() -> Vec<Conversation> {
    let user = || Message::user("What is the capital of France?");
    let (system, answer) = (
        Message::system("Answer in one word."),
        Message::assistant("Paris."),
    );
    let more = Message::user("And of Italy?");
    let probes = [
        vec![user()],
        vec![user(), answer.clone(), more.clone()],
        vec![system.clone(), user()],
        vec![system, user(), answer, more],
    ];
    probes
        .into_iter()
        .map(|messages| Conversation::new(messages, []))
        .collect()
}

/// The tool of [`tool_probe`].
const TOOL: &str = "tell_time";

/// With a tool, a call of it, and its result.
fn tool_probe() -> Conversation {
    let id = || Some("a1B2c3D4e".to_owned());
    let call = ToolCall {
        id: id(),
        name: TOOL.to_owned(),
        arguments: r#"{"zone": "CET"}"#.to_owned(),
    };
    let zone = Json::object([("type", "string".into())]);
    let tool = Tool {
        name: TOOL.to_owned(),
        description: "The time in a zone".to_owned(),
        parameters: Json::object([
            ("type", "object".into()),
            ("properties", Json::object([("zone", zone)])),
        ]),
    };
    let called = Message::Assistant {
        content: Content::default(),
        tool_calls: vec![call],
        prefix: false,
    };
    let result = Message::Tool {
        content: "noon".into(),
        call_id: id(),
        name: Some(TOOL.to_owned()),
    };
    let messages = [
        Message::user("Hello."),
        Message::assistant("Hi."),
        Message::user("What time is it?"),
        called,
        result,
    ];
    Conversation::new(messages, [tool])
}
