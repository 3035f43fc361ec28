//! What the files of a tokenizer say of its tokens.

use super::settings::{Added, Content, Settings};
use crate::gguf::Metadata;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// What a token is, as SentencePiece and GGUF number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A token: its text, the score that orders merges (the highest first), and what it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub text: String,
    pub score: f32,
    pub kind: TokenType,
}

/// What the tokenizer's own file says.
pub(crate) struct Vocabulary {
    /// By id; `None` where the file has a gap.
    pub tokens: Vec<Option<Token>>,
    pub unk: Option<u32>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub add_bos: bool,
    pub add_space_prefix: bool,
    pub remove_extra_whitespaces: bool,
    pub added: Vec<Added>,
    pub notes: Vec<String>,
    pub rules: Option<Rules>,
}

/// What transformers do to text, beyond what pieces and scores say.
pub(crate) struct Rules {
    /// As JSON.
    pub normalizer: String,
    pub pre_tokenizer: String,
    /// Ids of pairs that merge, one pair after the other; without them scores decide.
    pub merges: Option<Vec<u32>>,
    pub fuse_unk: bool,
    pub ignore_merges: bool,
    /// What GGUF calls the pattern that cuts words, where pieces are of bytes.
    pub pre: Option<&'static str>,
}

impl Vocabulary {
    /// Of a `tokenizer.json` beside a SentencePiece model: takes its scores where it has the same
    /// pieces, or says what differs.
    pub(super) fn compare_pieces(&mut self, pieces: &[Option<Token>], path: &Path) {
        let mut ids: BTreeMap<u32, &str> = BTreeMap::new();
        for (id, token) in self.tokens.iter().enumerate() {
            ids.extend(token.as_ref().map(|token| (id as u32, token.text.as_str())));
        }
        ids.extend(
            self.added
                .iter()
                .map(|added| (added.id, added.token.content.as_str())),
        );
        let of_model = |id: u32| {
            pieces
                .get(id as usize)
                .and_then(|piece| Some(piece.as_ref()?.text.as_str()))
        };
        let others: Vec<&str> = ids
            .iter()
            .filter(|(id, text)| of_model(**id) != Some(text))
            .map(|(_, text)| *text)
            .collect();
        if !others.is_empty() || ids.len() < pieces.len() {
            let mut shown: Vec<String> =
                others.iter().take(3).map(|text| format!("`{text}`")).collect();
            shown.extend((others.len() > 3).then(|| format!("{} more", others.len() - 3)));
            self.notes.push(format!(
                "tokenizer.json has {} tokens, {} has {}{}: tokenizer.json counts, as it does for transformers",
                ids.len(),
                file_name(path),
                pieces.len(),
                if shown.is_empty() { String::new() } else { format!(", not {}", shown.join(", ")) },
            ));
        }
        let normal = |token: &&mut Token| token.kind == TokenType::Normal;
        let same = self
            .tokens
            .iter()
            .zip(pieces)
            .all(|(token, piece)| match (token, piece) {
                (Some(token), Some(piece)) => {
                    token.kind != TokenType::Normal || token.text == piece.text
                }
                _ => false,
            });
        if same && self.tokens.len() <= pieces.len() {
            let tokens = self.tokens.iter_mut().zip(pieces);
            tokens
                .filter_map(|(token, piece)| {
                    Some((token.as_mut().filter(normal)?, piece.as_ref()?))
                })
                .for_each(|(token, piece)| token.score = piece.score);
        }
    }

    /// Of a SentencePiece model alone: what transformers make of it, which depends on the `legacy`
    /// of tokenizer_config.json.
    pub(super) fn follow_transformers(&mut self, settings: &Settings) {
        let prefix = settings.add_prefix_space.unwrap_or(self.add_space_prefix);
        let space = "\u{2581}";
        let mut normalizers =
            vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": space })];
        if prefix {
            normalizers.insert(0, json!({ "type": "Prepend", "prepend": space }));
        }
        let scheme = if prefix { "first" } else { "never" };
        let (normalizer, pre_tokenizer) = match settings.legacy {
            true => (
                json!({ "type": "Sequence", "normalizers": normalizers }),
                json!(null),
            ),
            false => (
                json!(null),
                json!({ "type": "Metaspace", "replacement": space, "prepend_scheme": scheme, "split": false }),
            ),
        };
        self.add_space_prefix = prefix;
        self.rules = Some(Rules {
            normalizer: normalizer.to_string(),
            pre_tokenizer: pre_tokenizer.to_string(),
            merges: None,
            fuse_unk: true,
            ignore_merges: false,
            pre: None,
        });
        let pieces = self.tokens.iter().enumerate();
        let added = pieces.filter_map(|(id, piece)| {
            let piece = piece.as_ref()?;
            let special = match piece.kind {
                TokenType::Control => true,
                TokenType::UserDefined => false,
                _ => return None,
            };
            Some(Added {
                id: id as u32,
                token: Content::of_piece(piece.text.clone(), special),
            })
        });
        self.added = added.collect();
    }

    /// Makes the tokens special that the configuration names; those that nobody has follow the last
    /// one, as far as the model goes.
    pub(super) fn add_named(&mut self, named: &[String], vocab_size: u64) {
        let in_file = self.tokens.iter().enumerate();
        let mut ids: BTreeMap<&str, u32> = in_file
            .filter_map(|(id, token)| Some((token.as_ref()?.text.as_str(), id as u32)))
            .collect();
        ids.extend(
            self.added
                .iter()
                .map(|added| (added.token.content.as_str(), added.id)),
        );
        let mut next = ids.values().max().map_or(0, |last| last.saturating_add(1));
        let mut known: HashSet<u32> = self.added.iter().map(|added| added.id).collect();
        let mut more = Vec::new();
        for name in named.iter().filter(|name| !name.is_empty()) {
            let id = *ids.entry(name).or_insert(next);
            next = next.max(id.saturating_add(1));
            if u64::from(id) < vocab_size && known.insert(id) {
                more.push(Added::special(id, name.clone()));
            }
        }
        let named: HashSet<&str> = named.iter().map(String::as_str).collect();
        let is_named = |added: &&mut Added| named.contains(added.token.content.as_str());
        let special = |added: &mut Added| added.token.make_special();
        self.added.iter_mut().filter(is_named).for_each(special);
        self.added.extend(more);
    }

    /// The flags of added tokens, those last said; a token is special if it ever was.
    pub(super) fn flags(&self, vocab_size: u64) -> Vec<u32> {
        let mut bits = BTreeMap::new();
        for added in self.added.iter().filter(|added| u64::from(added.id) < vocab_size) {
            let token = self.tokens.get(added.id as usize).and_then(Option::as_ref);
            let piece = token.is_some_and(|token| token.text == added.token.content);
            bits.insert(added.id, added.token.bits(piece));
        }
        bits.into_iter().flat_map(|(id, bits)| [id, bits]).collect()
    }
}

/// The file's tokens and the added ones; ids that nobody names become unused tokens.
pub(super) fn complete(vocabulary: &mut Vocabulary, vocab_size: u64) -> Vec<Token> {
    const ADDED_SCORE: f32 = -1000.0;
    const UNUSED_SCORE: f32 = -10000.0;
    let mut tokens = std::mem::take(&mut vocabulary.tokens);
    tokens.resize(vocab_size as usize, None);
    for Added { id, token } in std::mem::take(&mut vocabulary.added) {
        let kind = if token.special {
            TokenType::Control
        } else {
            TokenType::UserDefined
        };
        let added = Token {
            text: token.content,
            score: ADDED_SCORE,
            kind,
        };
        match tokens.get_mut(id as usize) {
            None => vocabulary.notes.push(format!(
                "added token {id} `{}` is left out: the model has {vocab_size} tokens",
                added.text
            )),
            Some(Some(token)) if token.text == added.text => {
                if token.kind == TokenType::Normal
                    || kind == TokenType::Control && token.kind != TokenType::Unknown
                {
                    token.kind = kind;
                }
            }
            Some(place) => {
                if let Some(old) = place {
                    vocabulary
                        .notes
                        .push(format!("token {id} `{}` becomes `{}`", old.text, added.text));
                }
                *place = Some(added);
            }
        }
    }
    let unused = |id| Token {
        text: format!("[PAD{id}]"),
        score: UNUSED_SCORE,
        kind: TokenType::Unused,
    };
    tokens
        .into_iter()
        .enumerate()
        .map(|(id, token)| token.unwrap_or_else(|| unused(id)))
        .collect()
}

impl Rules {
    /// Adds the rules to `metadata`, and the merges of pieces of bytes as llama.cpp reads them.
    pub(super) fn describe(self, tokens: &[Token], flags: Vec<u32>, metadata: &mut Metadata) {
        let mut set =
            |key: &str, value| metadata.set_default(&format!("tokenizer.{key}"), Some(value));
        set("rules.version", 1u32.into());
        set("rules.normalizer", self.normalizer.into());
        set("rules.pre_tokenizer", self.pre_tokenizer.into());
        set("rules.added", flags.into());
        set("rules.fuse_unk", self.fuse_unk.into());
        set("rules.ignore_merges", self.ignore_merges.into());
        let Some(merges) = self.merges else { return };
        if self.pre.is_none() {
            return set("rules.merges", merges.into());
        }
        let (pairs, _) = merges.as_chunks::<2>();
        let written = |&[left, right]: &[u32; 2]| {
            format!("{} {}", tokens[left as usize].text, tokens[right as usize].text)
        };
        set(
            "ggml.merges",
            pairs.iter().map(written).collect::<Vec<String>>().into(),
        );
    }
}

/// Whether `text` stands for a byte, as in `<0x0A>`.
pub(super) fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

pub(super) fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
