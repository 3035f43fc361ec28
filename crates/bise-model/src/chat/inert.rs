//! How the text of messages is kept apart from a template's structure.
//!
//! 1. In messages and tools, each character that a control token begins or ends with is replaced by one of its
//!    own that occurs nowhere. A text that could stand in the middle of a control token, and is no number, gets
//!    such a character around it.
//! 2. The template is rendered; its output is cut at the words of control tokens, which are now its own.
//! 3. What lies between becomes text again.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Plain;

use crate::tokenizer::literals::Literals;
use crate::tokenizer::{TokenKind, Tokenizer};

/// How text is kept apart from structure.
pub(super) struct Inert {
    /// The words of control tokens.
    pub control: Literals,
    pieces: Vec<String>,
    /// Stands around text that could be the middle of a control token.
    barrier: char,
    /// First and last characters of control tokens, and what stands for them.
    stand_ins: HashMap<char, char>,
    originals: HashMap<char, char>,
}

impl Inert {
    /// Chooses stand-ins that occur neither in the template nor in `values`.
    pub fn new(tokenizer: &Tokenizer, template: &str, values: [&Plain; 2]) -> Self {
        let vocabulary = tokenizer.vocabulary();
        let (mut control, mut pieces) = (Literals::default(), Vec::new());
        for (id, piece) in vocabulary.pieces.iter().enumerate() {
            if vocabulary.kinds[id] == TokenKind::Control && !piece.is_empty() {
                control.insert(piece, id as u32);
                pieces.push(piece.clone());
            }
        }
        let mut used: BTreeSet<char> = template.chars().filter(|&c| c >= FIRST_STAND_IN).collect();
        values.iter().for_each(|value| collect(value, &mut used));
        let mut free = (FIRST_STAND_IN..=char::MAX).filter(|c| !used.contains(c));
        let edges: BTreeSet<char> = pieces
            .iter()
            .flat_map(|piece| piece.chars().next().into_iter().chain(piece.chars().next_back()))
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

    fn disarm(&self, text: &str) -> String {
        let inert: String = text
            .chars()
            .map(|c| self.stand_ins.get(&c).copied().unwrap_or(c))
            .collect();
        let core = inert.trim();
        // A template may read a number, and would have to write the rest of `[control_7]` itself.
        let number = core.bytes().all(|b| b.is_ascii_digit());
        if number || !self.pieces.iter().any(|piece| piece.contains(core)) {
            return inert;
        }
        let blank = inert.len() - inert.trim_start().len();
        let end = blank + core.len();
        format!(
            "{}{b}{core}{b}{}",
            &inert[..blank],
            &inert[end..],
            b = self.barrier
        )
    }

    pub fn restore(&self, text: &str) -> String {
        let kept = text.chars().filter(|&c| c != self.barrier);
        kept.map(|c| self.originals.get(&c).copied().unwrap_or(c))
            .collect()
    }

    /// Roles are the program's own, and so are keys on the way to what a call says.
    pub fn disarm_messages(&self, messages: &mut Plain) {
        for message in messages.as_array_mut().into_iter().flatten() {
            for key in ["content", "tool_call_id", "name"] {
                message
                    .get_mut(key)
                    .into_iter()
                    .for_each(|value| self.disarm_value(value));
            }
            for call in message
                .get_mut("tool_calls")
                .and_then(Plain::as_array_mut)
                .into_iter()
                .flatten()
            {
                call.get_mut("id")
                    .into_iter()
                    .for_each(|id| self.disarm_value(id));
                for key in ["name", "arguments"] {
                    self.disarm_value(&mut call["function"][key]);
                }
            }
        }
    }

    pub fn disarm_tools(&self, tools: &mut Plain) {
        for tool in tools.as_array_mut().into_iter().flatten() {
            for key in ["name", "description", "parameters"] {
                self.disarm_value(&mut tool["function"][key]);
            }
        }
    }

    /// All texts in `value`, keys too.
    fn disarm_value(&self, value: &mut Plain) {
        match value {
            Plain::String(text) => *text = self.disarm(text),
            Plain::Array(values) => values.iter_mut().for_each(|value| self.disarm_value(value)),
            Plain::Object(map) => {
                let entries = std::mem::take(map).into_iter();
                *map = entries
                    .map(|(key, mut value)| {
                        self.disarm_value(&mut value);
                        (self.disarm(&key), value)
                    })
                    .collect();
            }
            Plain::Null | Plain::Bool(_) | Plain::Number(_) => {}
        }
    }
}

/// Stand-ins are of the last plane for private use.
const FIRST_STAND_IN: char = '\u{100000}';

/// The characters in `value` that could be taken for stand-ins.
fn collect(value: &Plain, used: &mut BTreeSet<char>) {
    let mut text = |text: &str| used.extend(text.chars().filter(|&c| c >= FIRST_STAND_IN));
    match value {
        Plain::String(s) => text(s),
        Plain::Array(values) => values.iter().for_each(|value| collect(value, used)),
        Plain::Object(map) => {
            map.keys().for_each(|key| text(key));
            map.values().for_each(|value| collect(value, used));
        }
        Plain::Null | Plain::Bool(_) | Plain::Number(_) => {}
    }
}
