//! Mistral's chat formats, as tokens.
//!
//! Written with control tokens in brackets and `~` for the space that SentencePiece puts before
//! each text:
//!
//! ```text
//! v1   <s>~[INST] system⏎⏎user [/INST]~answer</s>~[INST] user [/INST]           [INST] is text here
//! v2   <s>[INST]~user[/INST]~answer</s>[AVAILABLE_TOOLS]~[...][/AVAILABLE_TOOLS][INST]~system⏎⏎user[/INST]
//! v3   the same; tools' calls and results have ids, and those before the last user message stay
//! v7   <s>[SYSTEM_PROMPT]~system[/SYSTEM_PROMPT][INST]~user[/INST]~answer</s>
//!
//!      calls                                                results
//! v2   [TOOL_CALLS]~[{"name": "f", "arguments": {}}]</s>    [TOOL_RESULTS]~[{"name": "f", "content": 1}][/TOOL_RESULTS]
//! v3   [TOOL_CALLS]~[{..., "id": "abcdefghi"}]</s>          [TOOL_RESULTS]~{"content": 1, "call_id": "abcdefghi"}[/TOOL_RESULTS]
//! v7   as v3                                                [TOOL_RESULTS]~abcdefghi[TOOL_CONTENT]~1[/TOOL_RESULTS]
//! v11  [TOOL_CALLS]~f[CALL_ID]~abcdefghi[ARGS]~{}</s>       as v7
//! v13  [TOOL_CALLS]~f[ARGS]~{}</s>                          [TOOL_RESULTS]~1[/TOOL_RESULTS]
//!
//! v13  [INST] user[/INST][THINK]thought[/THINK]answer</s>   thoughts, also of system prompts
//! v15  [MODEL_SETTINGS]{"reasoning_effort": "high"}[/MODEL_SETTINGS][INST]user[/INST]
//! ```
//!
//! The system prompt goes into the first user message in v1 and into the last in v2 and v3; tools
//! are listed before the last user message, from v13 on before the first, and v15's settings after
//! them. A thought that is not closed has no `[/THINK]`, and an answer that is to go on no `</s>`.
//! From v2 on an answer loses the spaces at its end. tekken vocabularies put no space before a
//! text.

use super::content::{Content, JOINT, Part};
use super::error::ChatError;
use super::json::Json;
use super::message::{Message, Tool, ToolCall};
use super::rules::{json_content, normalize, validate};
use super::settings::effort;
use super::version::Version;
use crate::tokenizer::{TokenKind, Tokenizer};

/// Builds the tokens of one conversation.
struct Encoder<'a> {
    version: Version,
    tokenizer: &'a Tokenizer,
    /// v15's settings, which the first user message follows.
    settings: Option<String>,
    ids: Vec<u32>,
}

impl Version {
    /// The tokens of a conversation up to where the answer begins.
    pub(super) fn encode(
        self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        tools: &[Tool],
        reasoning_effort: Option<&str>,
    ) -> Result<Vec<u32>, ChatError> {
        validate(self, messages, tools)?;
        let effort = effort(self, tokenizer.vocabulary().reasoning.as_ref(), reasoning_effort)?;
        let (messages, system) = normalize(self, messages);
        let is_user = |message: &Message| matches!(message, Message::User { .. });
        let first_user = messages.iter().position(is_user);
        let last_user = messages.iter().rposition(is_user);
        let mut encoder = Encoder {
            version: self,
            tokenizer,
            settings: effort
                .map(|effort| Json::object([("reasoning_effort", effort.into())]).to_string()),
            ids: Vec::new(),
        };
        encoder.bos()?;
        for (i, message) in messages.iter().enumerate() {
            let with_system = Some(i) == if self == Self::V1 { first_user } else { last_user };
            let with_tools = Some(i) == if self >= Self::V13 { first_user } else { last_user };
            let history = last_user.is_some_and(|last| i < last);
            match message {
                Message::System { content } => encoder.system(content)?,
                Message::User { content } => {
                    let system = system.as_deref().filter(|_| with_system);
                    let tools = if with_tools { tools } else { &[] };
                    encoder.user(system, &content.text(), tools, Some(i) == first_user)?;
                }
                // v2 forgets calls and results once the user has spoken again.
                Message::Assistant { tool_calls, .. }
                    if self == Self::V2 && history && !tool_calls.is_empty() => {}
                Message::Tool { .. } if self == Self::V2 && history => {}
                Message::Assistant {
                    content,
                    tool_calls,
                    prefix,
                } => encoder.assistant(content, tool_calls, *prefix)?,
                Message::Tool {
                    content,
                    call_id,
                    name,
                } => {
                    encoder.result(&content.text(), call_id.as_deref(), name.as_deref())?;
                }
            }
        }
        Ok(encoder.ids)
    }
}

impl Encoder<'_> {
    fn bos(&mut self) -> Result<(), ChatError> {
        let bos = self.tokenizer.vocabulary().bos;
        self.ids.push(bos.ok_or(self.missing("<s>"))?);
        Ok(())
    }

    fn missing(&self, piece: &'static str) -> ChatError {
        ChatError::Token {
            version: self.version,
            piece,
        }
    }

    fn control(&mut self, piece: &'static str) -> Result<(), ChatError> {
        let id = control_token(self.tokenizer, piece);
        self.ids.push(id.ok_or_else(|| self.missing(piece))?);
        Ok(())
    }

    /// Text, in which nothing is a control token.
    fn text(&mut self, text: &str) {
        self.ids.extend(self.tokenizer.encode_alone(text.as_bytes()));
    }

    fn between(
        &mut self,
        open: &'static str,
        text: &str,
        close: &'static str,
    ) -> Result<(), ChatError> {
        self.control(open)?;
        self.text(text);
        self.control(close)
    }

    fn system(&mut self, content: &Content) -> Result<(), ChatError> {
        self.control("[SYSTEM_PROMPT]")?;
        self.parts(content)?;
        self.control("[/SYSTEM_PROMPT]")
    }

    /// Texts and thoughts, each tokenized alone.
    fn parts(&mut self, content: &Content) -> Result<(), ChatError> {
        for part in content.parts() {
            match part {
                Part::Text { text } => self.text(text),
                Part::Thinking { thinking, closed } => {
                    self.control("[THINK]")?;
                    self.text(thinking);
                    if *closed {
                        self.control("[/THINK]")?;
                    }
                }
            }
        }
        Ok(())
    }

    fn user(
        &mut self,
        system: Option<&str>,
        text: &str,
        tools: &[Tool],
        first: bool,
    ) -> Result<(), ChatError> {
        if !tools.is_empty() {
            let tools = Json::Array(tools.iter().map(Tool::to_json).collect()).to_string();
            self.between("[AVAILABLE_TOOLS]", &tools, "[/AVAILABLE_TOOLS]")?;
        }
        if let Some(settings) = self.settings.take_if(|_| first) {
            self.between("[MODEL_SETTINGS]", &settings, "[/MODEL_SETTINGS]")?;
        }
        let text = match system {
            Some(system) => format!("{system}{JOINT}{text}"),
            None => text.to_owned(),
        };
        match self.version {
            Version::V1 => self.text(&format!("[INST] {text} [/INST]")),
            _ => self.between("[INST]", &text, "[/INST]")?,
        }
        Ok(())
    }

    fn assistant(
        &mut self,
        content: &Content,
        tool_calls: &[ToolCall],
        prefix: bool,
    ) -> Result<(), ChatError> {
        match content.parts() {
            [Part::Text { text }] if self.version > Version::V1 => {
                self.text(text.trim_end_matches(' '))
            }
            _ => self.parts(content)?,
        }
        match self.version {
            Version::V11 | Version::V13 | Version::V15 => {
                tool_calls.iter().try_for_each(|call| self.call(call))?;
            }
            _ if tool_calls.is_empty() => {}
            version => {
                self.control("[TOOL_CALLS]")?;
                let calls = tool_calls.iter().map(|call| call_json(version, call)).collect();
                self.text(&Json::Array(calls).to_string());
            }
        }
        if !prefix {
            let eos = self.tokenizer.vocabulary().eos;
            self.ids.push(eos.ok_or(self.missing("</s>"))?);
        }
        Ok(())
    }

    fn call(&mut self, call: &ToolCall) -> Result<(), ChatError> {
        self.control("[TOOL_CALLS]")?;
        self.text(&call.name);
        if let (Version::V11, Some(id)) = (self.version, &call.id) {
            self.control("[CALL_ID]")?;
            self.text(id);
        }
        self.control("[ARGS]")?;
        self.text(&json_content(&call.arguments).to_string());
        Ok(())
    }

    fn result(
        &mut self,
        text: &str,
        call_id: Option<&str>,
        name: Option<&str>,
    ) -> Result<(), ChatError> {
        let (call_id, null) = (call_id.unwrap_or_default(), Json::Plain("null".to_owned()));
        self.control("[TOOL_RESULTS]")?;
        match self.version {
            Version::V1 | Version::V2 => {
                let name = name.map_or(null, Json::from);
                let result = Json::object([("name", name), ("content", json_content(text))]);
                self.text(&Json::Array(vec![result]).to_string());
            }
            Version::V3 => {
                let result =
                    Json::object([("content", json_content(text)), ("call_id", call_id.into())]);
                self.text(&result.to_string());
            }
            Version::V7 | Version::V11 => {
                self.text(call_id);
                self.control("[TOOL_CONTENT]")?;
                self.text(text);
            }
            Version::V13 | Version::V15 => self.text(text),
        }
        self.control("[/TOOL_RESULTS]")
    }
}

fn call_json(version: Version, call: &ToolCall) -> Json {
    let (name, arguments) = (
        ("name", call.name.as_str().into()),
        ("arguments", json_content(&call.arguments)),
    );
    match &call.id {
        Some(id) if version > Version::V2 => {
            Json::object([name, arguments, ("id", id.as_str().into())])
        }
        _ => Json::object([name, arguments]),
    }
}

/// The control token that the vocabulary writes as `piece`.
pub(super) fn control_token(tokenizer: &Tokenizer, piece: &str) -> Option<u32> {
    let id = tokenizer.token(piece)?;
    (tokenizer.kind(id) == Some(TokenKind::Control)).then_some(id)
}
