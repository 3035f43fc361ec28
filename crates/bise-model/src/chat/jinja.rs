//! Chat templates in Jinja, as GGUF files and Hugging Face directories carry them.
//!
//! A template renders a text, whose structure is written in the words of control tokens. Messages
//! are made inert before ([`inert`](super::inert)), so that these words are the template's own: the
//! text is cut at them, and what lies between is tokenized as text.

use std::error::Error as _;
use std::sync::Arc;

use bise_format::gguf::Metadata;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, Value};

use super::inert::Inert;
use super::python::{self, value_of};
use super::request::Request;
use super::source::prepare;
use super::{ChatError, Conversation};
use crate::tokenizer::Tokenizer;

/// Metadata with the Jinja template of a file; named ones have a dot and the name behind.
const TEMPLATE_KEY: &str = "tokenizer.chat_template";

/// The template that is not named.
pub(super) const DEFAULT: &str = "default";

/// The template for conversations with tools.
const TOOL_USE: &str = "tool_use";

/// The name that minijinja calls a template by.
const NAME: &str = "chat_template";

/// Steps after which a template is stopped; the known ones need a few hundred for a message.
const FUEL: u64 = 10_000_000;

/// Templates in Jinja: one, or several with names, of which each conversation takes one.
///
/// They see what Hugging Face's transformers give to templates: `messages`, `tools`, `documents`,
/// `bos_token`, `eos_token`, `unk_token`, `add_generation_prompt`, the variables of a request,
/// `raise_exception`, `strftime_now`, and `tojson` as Python writes it.
#[derive(Debug, Clone)]
pub struct Jinja {
    /// Names and sources.
    templates: Vec<(String, String)>,
    /// Whether there is one that was asked for, whatever its name.
    asked: bool,
}

impl Jinja {
    /// A template alone.
    ///
    /// # Errors
    /// When it is malformed; the error names the line.
    pub fn new(source: String) -> Result<Self, ChatError> {
        Self::asked(DEFAULT, source)
    }

    /// A template alone, which errors call `name`.
    pub(super) fn asked(name: &str, source: String) -> Result<Self, ChatError> {
        let jinja = Self::named(vec![(name.to_owned(), source)])?;
        Ok(Self {
            asked: true,
            ..jinja
        })
    }

    /// Templates with their names, of which `default` and `tool_use` have a meaning.
    ///
    /// # Errors
    /// When one is malformed; the error names it, and the line.
    pub fn named(templates: Vec<(String, String)>) -> Result<Self, ChatError> {
        for (name, source) in &templates {
            Compiled::new(source, Arc::default())
                .map_err(|error| fault(name, &error, &Inert::default()))?;
        }
        let asked = false;
        Ok(Self { templates, asked })
    }

    /// The templates of a file.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub(super) fn of_file(metadata: &Metadata) -> Result<Option<Self>, ChatError> {
        let template = |(key, _): (&str, _)| {
            let name = match key.strip_prefix(TEMPLATE_KEY)? {
                "" => DEFAULT,
                name => name.strip_prefix('.')?,
            };
            Some((name.to_owned(), metadata.str(key).ok()??.to_owned()))
        };
        let mut templates: Vec<(String, String)> = metadata.iter().filter_map(template).collect();
        templates.sort_by_key(|(name, _)| name != DEFAULT);
        match templates.is_empty() {
            true => Ok(None),
            false => Self::named(templates).map(Some),
        }
    }

    /// The template `name` of these, alone.
    pub(super) fn only(&self, name: &str) -> Option<Self> {
        let found = self.templates.iter().find(|(other, _)| other == name)?;
        Some(Self {
            templates: vec![found.clone()],
            asked: true,
        })
    }

    /// The names, `default` first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().map(|(name, _)| name.as_str())
    }

    /// Name and source of the template for a conversation, chosen as transformers do.
    pub(super) fn chosen(&self, tools: bool) -> Result<&(String, String), ChatError> {
        let named = |wanted| self.templates.iter().find(|(name, _)| name == wanted);
        let asked = self.templates.first().filter(|_| self.asked);
        let chosen = asked.or(named(TOOL_USE).filter(|_| tools)).or(named(DEFAULT));
        chosen.ok_or_else(|| ChatError::NoDefault(self.names().collect::<Vec<_>>().join(", ")))
    }

    pub(super) fn encode(
        &self,
        tokenizer: &Tokenizer,
        conversation: &Conversation,
    ) -> Result<Vec<u32>, ChatError> {
        let request = conversation.request();
        if request.messages.is_empty() {
            return Err(ChatError::Empty);
        }
        let (name, source) = self.chosen(request.tools.is_some())?;
        let inert = Arc::new(Inert::new(tokenizer, source, &request));
        let mut request = request.into_owned();
        inert.disarm_request(&mut request);
        let compiled = Compiled::new(source, inert.clone());
        let rendered = compiled.and_then(|compiled| compiled.render(tokenizer, &request));
        let rendered = rendered.map_err(|error| fault(name, &error, &inert))?;

        let vocabulary = tokenizer.vocabulary();
        let (mut text, mut controls) = (String::with_capacity(rendered.len()), Vec::new());
        inert.control.split(&rendered, |part| match part {
            Ok(id) => {
                let start = text.len();
                text.push_str(tokenizer.piece(id));
                controls.push((start..text.len(), id));
            }
            Err(between) => text.push_str(&inert.restore(between)),
        });
        let mut ids = tokenizer.encode_placed(&text, &controls);
        if let Some(bos) = vocabulary
            .bos
            .filter(|bos| vocabulary.add_bos && ids.first() != Some(bos))
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The default template's texts of harmless conversations: of each its text, cut at control
    /// tokens, or `None` where the template refuses.
    pub(super) fn rendered(
        &self,
        tokenizer: &Tokenizer,
        probes: &[Conversation],
    ) -> Vec<Option<Vec<Result<u32, String>>>> {
        let Ok((_, source)) = self.chosen(false) else {
            return vec![None; probes.len()];
        };
        let inert = Arc::new(Inert::new(tokenizer, source, &Request::default()));
        let Ok(compiled) = Compiled::new(source, inert.clone()) else {
            return vec![None; probes.len()];
        };
        let parts = |probe: &Conversation| {
            let text = compiled.render(tokenizer, &probe.request()).ok()?;
            let mut parts = Vec::new();
            inert
                .control
                .split(&text, |part| parts.push(part.map_err(str::to_owned)));
            Some(parts)
        };
        probes.iter().map(parts).collect()
    }
}

/// A template that is ready to render.
struct Compiled(Environment<'static>);

impl Compiled {
    fn new(source: &str, inert: Arc<Inert>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax?);
        environment.set_fuel(Some(FUEL));
        environment.set_debug(true);
        python::equip(&mut environment, &inert);
        environment.add_template_owned(NAME, prepare(source, |word| inert.mapped(word)))?;
        Ok(Self(environment))
    }

    fn render(&self, tokenizer: &Tokenizer, request: &Request) -> Result<String, Error> {
        let list = |values: &[_]| values.iter().map(value_of).collect::<Value>();
        let vocabulary = tokenizer.vocabulary();
        let special = [
            ("bos_token", vocabulary.bos),
            ("eos_token", vocabulary.eos),
            ("unk_token", vocabulary.unk),
        ];
        let special = special
            .into_iter()
            .filter_map(|(name, id)| Some((name, Value::from(tokenizer.piece(id?)))));
        let given = [
            ("messages", list(&request.messages)),
            ("tools", request.tools.as_deref().map_or(Value::from(()), list)),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(true)),
        ];
        let said = request
            .variables
            .iter()
            .map(|(name, json)| (name.as_str(), value_of(json)));
        let context = Value::from_pairs(special.chain(given).chain(said));
        self.0.get_template(NAME)?.render(context)
    }
}

/// What went wrong in the template `name`, and where.
fn fault(name: &str, error: &Error, inert: &Inert) -> ChatError {
    const MOST: usize = 80;
    let mut at = error
        .line()
        .map_or(String::new(), |line| format!(", line {line}"));
    let expression = error
        .range()
        .and_then(|range| error.template_source()?.get(range));
    if let Some(expression) = expression {
        let line: String = expression.split_whitespace().collect::<Vec<_>>().join(" ");
        let cut: String = line.chars().take(MOST).collect();
        at.push_str(&format!(
            ": {}{}",
            cut,
            if cut.len() < line.len() { ".." } else { "" }
        ));
    }
    let at = inert.restore(&at);
    let template = name.to_owned();
    let detail = error.detail().map(|detail| inert.restore(detail));
    match error
        .source()
        .is_some_and(|source| source.is::<python::Refusal>())
    {
        true => ChatError::Refused {
            template,
            at,
            what: detail.unwrap_or_default(),
        },
        false => ChatError::Jinja {
            template,
            at,
            what: detail.map_or(error.kind().to_string(), |detail| {
                format!("{}: {detail}", error.kind())
            }),
        },
    }
}
