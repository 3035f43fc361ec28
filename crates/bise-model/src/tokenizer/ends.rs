//! Which tokens end a text.
//!
//! ```text
//! eos                            the file's end of a sequence
//! eot_token_id, eom_token_id     ends of a turn and of a message, keys of GGUF
//! end_token_ids                  further ones that a directory's configurations list
//! <|im_end|>, <|eot_id|>, ..     tokens whose names say so, where a chat template writes them
//! ```

use std::collections::HashSet;

use bise_format::gguf::Metadata;

use super::{TokenKind, TokenizerError, Vocabulary};

/// Metadata in which `bise quantize` keeps tokens that end a text and for which GGUF has no key.
pub const ENDS_KEY: &str = "tokenizer.bise.end_token_ids";

const KEYS: [(&str, &str); 2] = [
    (
        "end-of-turn (tokenizer.ggml.eot_token_id)",
        "tokenizer.ggml.eot_token_id",
    ),
    (
        "end-of-message (tokenizer.ggml.eom_token_id)",
        "tokenizer.ggml.eom_token_id",
    ),
];

/// What the chat templates of a file begin with: `tokenizer.chat_template`,
/// `tokenizer.chat_template.tool_use`.
const TEMPLATES: &str = "tokenizer.chat_template";

/// The names of tokens that end a turn, by the conventions of those who train models.
const NAMES: [&str; 9] = [
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
];

impl Vocabulary {
    /// The tokens that end a text: [`eos`](Self::eos) first, then the others.
    pub fn all_ends(&self) -> Vec<u32> {
        let mut seen = HashSet::new();
        let all = self.eos.into_iter().chain(self.ends.iter().copied());
        all.filter(|&id| seen.insert(id)).collect()
    }

    /// Lets a text also end with the tokens that are named as ends of turns and that `templates`,
    /// chat templates, write.
    pub fn end_turns_of(&mut self, templates: &[&str]) {
        let written = |name: &&str| templates.iter().any(|template| template.contains(*name));
        for name in NAMES.iter().copied().filter(written) {
            let id = self.pieces.iter().position(|piece| piece == name);
            self.ends.extend(id.map(|id| id as u32));
        }
    }

    /// Takes up what the metadata of a GGUF file say of ends, beside `eos`.
    pub(super) fn read_ends(&mut self, metadata: &Metadata) -> Result<(), TokenizerError> {
        for (what, key) in KEYS {
            // -1 is written where there is none.
            let id = metadata.u32(key)?.filter(|&id| id != u32::MAX);
            self.ends.extend(id.map(|id| self.known(what, id)).transpose()?);
        }
        for &id in metadata.u32s(ENDS_KEY)?.unwrap_or_default().iter() {
            let id = self.known("end-of-text (tokenizer.bise.end_token_ids)", id)?;
            self.ends.push(id);
        }
        let templates = metadata.iter().filter(|(key, _)| key.starts_with(TEMPLATES));
        let templates: Vec<&str> = templates
            .filter_map(|(key, _)| metadata.str(key).ok().flatten())
            .collect();
        self.end_turns_of(&templates);
        Ok(())
    }

    fn known(&self, what: &'static str, found: u32) -> Result<u32, TokenizerError> {
        let tokens = self.len();
        match found as usize {
            id if id < tokens => Ok(found),
            _ => Err(TokenizerError::SpecialOutOfRange {
                what,
                found,
                tokens,
            }),
        }
    }

    /// Makes control tokens of those that end a text, which some converters mark as text: a
    /// prompt's text would make them. A word that a configuration lists as an end stays a word.
    pub(super) fn mark_ends(&mut self) {
        for id in self.ends.iter().map(|&id| id as usize) {
            if self.kinds[id] == TokenKind::UserDefined || NAMES.contains(&self.pieces[id].as_str())
            {
                self.kinds[id] = TokenKind::Control;
            }
        }
    }
}
