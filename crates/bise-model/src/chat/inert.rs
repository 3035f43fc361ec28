//! How the text of messages is kept apart from a template's structure.
//!
//! 1. In messages and tools, each character that a control token begins or ends with is replaced by one of its
//!    own that occurs nowhere. A text that could stand in the middle of a control token, and is no number, gets
//!    such a character behind it.
//! 2. The template is rendered; its output is cut at the words of control tokens, which are now its own.
//! 3. What lies between becomes text again.
//!
//! Words that the template looks for in a text (`'</think>' in text`, `text.split('</think>')`) are
//! replaced in the same way, so that it finds what it finds in transformers, and what it takes from
//! a text remains text. What differs: a text of step 1 with a character behind it, cut from its end
//! or compared with `==`.

use std::collections::{BTreeSet, HashMap};

use super::json::Json;
use super::request::Request;
use crate::tokenizer::literals::Literals;
use crate::tokenizer::{TokenKind, Tokenizer};

/// How text is kept apart from structure.
#[derive(Debug, Default)]
pub(super) struct Inert {
    /// The words of control tokens.
    pub control: Literals,
    /// The same in small letters, as a template may change case.
    pieces: Vec<String>,
    /// Stands behind text that could be the middle of a control token.
    barrier: char,
    /// First and last characters of control tokens, and what stands for them.
    stand_ins: HashMap<char, char>,
    originals: HashMap<char, char>,
}

impl Inert {
    /// Chooses stand-ins that occur neither in the template nor in `request`.
    pub fn new(tokenizer: &Tokenizer, template: &str, request: &Request) -> Self {
        let vocabulary = tokenizer.vocabulary();
        let (mut control, mut pieces) = (Literals::default(), Vec::new());
        for (id, piece) in vocabulary.pieces.iter().enumerate() {
            if vocabulary.kinds[id] == TokenKind::Control && !piece.is_empty() {
                control.insert(piece, id as u32);
                pieces.push(piece.to_lowercase());
            }
        }
        let mut used: BTreeSet<char> = template.chars().filter(|&c| c >= FIRST_STAND_IN).collect();
        let values = request.messages.iter().chain(request.tools.iter().flatten());
        let values = values.chain(request.variables.values());
        values.for_each(|value| collect(value, &mut used));
        let mut free = (FIRST_STAND_IN..=char::MAX).filter(|c| !used.contains(c));
        let control_pieces = vocabulary.pieces.iter().zip(&vocabulary.kinds);
        let edges: BTreeSet<char> = control_pieces
            .filter(|(_, kind)| **kind == TokenKind::Control)
            .flat_map(|(piece, _)| {
                piece.chars().next().into_iter().chain(piece.chars().next_back())
            })
            .collect();
        let barrier = free.next().unwrap_or(char::MAX);
        let stand_ins: HashMap<char, char> = edges.into_iter().zip(free).collect();
        let originals = stand_ins
            .iter()
            .map(|(&original, &stand_in)| (stand_in, original))
            .collect();
        Self {
            control,
            pieces,
            barrier,
            stand_ins,
            originals,
        }
    }

    /// `word` as it stands in a text.
    pub fn mapped(&self, word: &str) -> String {
        let stand_in = |c| self.stand_ins.get(&c).copied().unwrap_or(c);
        word.chars().map(stand_in).collect()
    }

    /// What each private character stands for; nothing of weight in the case of the barrier.
    pub fn originals(&self) -> HashMap<char, char> {
        let mut originals = self.originals.clone();
        originals.insert(self.barrier, 'x');
        originals
    }

    /// How many characters a text has.
    pub fn characters(&self, text: &str) -> usize {
        text.chars().filter(|&c| c != self.barrier).count()
    }

    fn disarm(&self, text: &str) -> String {
        let inert = self.mapped(text);
        let core = inert.trim_end();
        let middle = core.trim_start().to_lowercase();
        // A template may read a number, and would have to write the rest of `[control_7]` itself.
        let number = middle.bytes().all(|b| b.is_ascii_digit());
        if number || !self.pieces.iter().any(|piece| piece.contains(&middle)) {
            return inert;
        }
        format!("{core}{}{}", self.barrier, &inert[core.len()..])
    }

    /// A text with its own characters again, but for barriers.
    pub fn unmapped(&self, text: &str) -> String {
        text.chars()
            .map(|c| self.originals.get(&c).copied().unwrap_or(c))
            .collect()
    }

    /// A text without barriers, to look at.
    pub fn bare(&self, text: &str) -> String {
        text.replace(self.barrier, "")
    }

    /// A text as it was.
    pub fn restore(&self, text: &str) -> String {
        self.unmapped(&self.bare(text))
    }

    /// All texts of a request, but for roles, which are the program's own.
    pub fn disarm_request(&self, request: &mut Request) {
        for message in &mut request.messages {
            if let Json::Object(message) = message {
                let values = message.iter_mut().filter(|(key, _)| *key != "role");
                values.for_each(|(key, value)| self.disarm_value(key, value));
            }
        }
        let tools = request.tools.iter_mut().flatten();
        tools.for_each(|value| self.disarm_value("", value));
        let variables = request.variables.iter_mut();
        variables.for_each(|(key, value)| self.disarm_value(key, value));
    }

    /// All texts in the value of `key`, keys too.
    fn disarm_value(&self, key: &str, value: &mut Json) {
        match value {
            Json::String(text) if key == "type" && TYPES.contains(&text.as_str()) => {}
            Json::String(text) => *text = self.disarm(text),
            Json::Array(values) => values.iter_mut().for_each(|value| self.disarm_value("", value)),
            Json::Object(map) => {
                let entries = std::mem::take(map).into_iter();
                *map = entries
                    .map(|(key, mut value)| {
                        self.disarm_value(&key, &mut value);
                        let known = KEYS.contains(&key.as_str());
                        (if known { key } else { self.disarm(&key) }, value)
                    })
                    .collect();
            }
            Json::Plain(_) => {}
        }
    }
}

/// Types of parts, of tools and in schemas, which templates ask for.
const TYPES: [&str; 10] = [
    "text", "function", "object", "array", "string", "number", "integer", "boolean", "null",
    "thinking",
];

/// Keys that templates ask for.
const KEYS: [&str; 16] = [
    "type",
    "text",
    "function",
    "name",
    "arguments",
    "id",
    "description",
    "parameters",
    "properties",
    "required",
    "items",
    "enum",
    "title",
    "content",
    "thinking",
    "default",
];

/// Stand-ins are of the last plane for private use.
pub(super) const FIRST_STAND_IN: char = '\u{100000}';

/// The characters in `value` that could be taken for stand-ins.
fn collect(value: &Json, used: &mut BTreeSet<char>) {
    let mut text = |text: &str| used.extend(text.chars().filter(|&c| c >= FIRST_STAND_IN));
    match value {
        Json::String(s) => text(s),
        Json::Array(values) => values.iter().for_each(|value| collect(value, used)),
        Json::Object(map) => {
            map.keys().for_each(|key| text(key));
            map.values().for_each(|value| collect(value, used));
        }
        Json::Plain(_) => {}
    }
}
