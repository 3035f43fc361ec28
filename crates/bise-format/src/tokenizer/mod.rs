//! Tokenizers: `tokenizer.json` or `tokenizer.model`, as the metadata that GGUF's `llama` tokenizers have, and
//! `tekken.json` or a `tokenizer.json` of bytes, as that of its `gpt2` tokenizers.
//!
//! Where several stand side by side, `tokenizer.json` counts, as in transformers: newer tokens are written into it alone. A
//! `tekken.json` of the same tokens counts before it, as it also tells how conversations are written.
//!
//! What GGUF's keys cannot say (flags of added tokens, normalizer, pre-tokenizer, pairs that merge) stands in keys
//! `tokenizer.rules.*` beside them.

mod bpe_json;
mod chat_templates;
mod sentencepiece;
mod settings;
mod tekken;
#[cfg(test)]
mod tests;
mod words;

use crate::error::OpenError;
use crate::gguf::Metadata;
use crate::hf::{SpecialTokens, set_default};
use serde_json::json;
use settings::{Added, Content, Settings};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use tekken::Tekken;

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

/// A tokenizer that is as long as the model's vocabulary.
pub(crate) struct Tokenizer {
    kind: Kind,
    settings: Settings,
}

enum Kind {
    /// Tokens, what the file says beside them, and the flags of added tokens: id after id with its bits.
    Pieces(Vec<Token>, Vocabulary, Vec<u32>),
    Tekken(Tekken, u64),
}

/// Reads the tokenizer in `directory`, if there is one.
pub(crate) fn read(directory: &Path, vocab_size: u64) -> Result<Option<Tokenizer>, OpenError> {
    let settings = Settings::read(directory, vocab_size)?;
    let tekken = Some(directory.join("tekken.json")).filter(|path| path.exists());
    let model = sentencepiece_model(directory);
    let json = Some(directory.join("tokenizer.json")).filter(|path| path.exists());
    let json =
        match &json {
            Some(path) => Some(bpe_json::read(path, vocab_size).map_err(|error| {
                match tekken.as_ref().or(model.as_ref()) {
                    Some(other) => error.beside(other),
                    None => error,
                }
            })?),
            None => None,
        };
    let mut vocabulary = match (json, model, tekken) {
        (Some(mut json), Some(path), _) => {
            let model = sentencepiece::read(&path, vocab_size)?;
            json.compare_pieces(&model.tokens, &path);
            json
        }
        (json, None, Some(path)) => {
            let tekken = tekken::read(&path, Some(vocab_size))?;
            match json {
                Some(mut json) if !tekken.has_tokens_of(&json) => {
                    json.notes.push(format!(
                        "tokenizer.json has other tokens than {}: it counts, as it does for transformers",
                        file_name(&path)
                    ));
                    json
                }
                _ => {
                    let kind = Kind::Tekken(tekken, vocab_size);
                    return Ok(Some(Tokenizer { kind, settings }));
                }
            }
        }
        (Some(json), None, None) => json,
        (None, Some(path), _) => {
            let mut model = sentencepiece::read(&path, vocab_size)?;
            if settings.configured {
                model.follow_transformers(&settings);
            }
            model
        }
        (None, None, None) => return Ok(None),
    };
    vocabulary.added.extend(settings.added.iter().cloned());
    vocabulary.add_named(&settings.named, vocab_size);
    let flags = vocabulary.flags(vocab_size);
    let tokens = complete(&mut vocabulary, vocab_size);
    let kind = Kind::Pieces(tokens, vocabulary, flags);
    Ok(Some(Tokenizer { kind, settings }))
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

impl Vocabulary {
    /// Of a `tokenizer.json` beside a SentencePiece model: takes its scores where it has the same pieces, or says what differs.
    fn compare_pieces(&mut self, pieces: &[Option<Token>], path: &Path) {
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
            let mut shown: Vec<String> = others.iter().take(3).map(|text| format!("`{text}`")).collect();
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
                (Some(token), Some(piece)) => token.kind != TokenType::Normal || token.text == piece.text,
                _ => false,
            });
        if same && self.tokens.len() <= pieces.len() {
            let tokens = self.tokens.iter_mut().zip(pieces);
            tokens
                .filter_map(|(token, piece)| Some((token.as_mut().filter(normal)?, piece.as_ref()?)))
                .for_each(|(token, piece)| token.score = piece.score);
        }
    }

    /// Of a SentencePiece model alone: what transformers make of it, which depends on the `legacy` of tokenizer_config.json.
    fn follow_transformers(&mut self, settings: &Settings) {
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

    /// Makes the tokens special that the configuration names; those that nobody has follow the last one, as far as the model goes.
    fn add_named(&mut self, named: &[String], vocab_size: u64) {
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
    fn flags(&self, vocab_size: u64) -> Vec<u32> {
        let mut bits = BTreeMap::new();
        for added in self.added.iter().filter(|added| u64::from(added.id) < vocab_size) {
            let token = self.tokens.get(added.id as usize).and_then(Option::as_ref);
            let piece = token.is_some_and(|token| token.text == added.token.content);
            bits.insert(added.id, added.token.bits(piece));
        }
        bits.into_iter().flat_map(|(id, bits)| [id, bits]).collect()
    }
}

/// The metadata that a `tekken.json` becomes.
///
/// # Errors
/// When the file cannot be read, is damaged, or is of a kind that GGUF cannot say.
pub fn tekken_metadata(path: &Path) -> Result<Metadata, OpenError> {
    let mut metadata = Metadata::new();
    tekken::read(path, None)?.describe(0, &mut metadata);
    Ok(metadata)
}

/// The metadata that the tokenizer in `directory` becomes, of a model of `vocab_size` tokens, and what is to be known of it; `None`
/// where there is no tokenizer.
///
/// # Errors
/// When a file cannot be read, is damaged, or is of a kind that GGUF cannot say.
pub fn tokenizer_metadata(
    directory: &Path,
    vocab_size: u64,
) -> Result<Option<(Metadata, Vec<String>)>, OpenError> {
    let (mut metadata, mut notes) = (Metadata::new(), Vec::new());
    Ok(read(directory, vocab_size)?.map(|tokenizer| {
        tokenizer.describe(&SpecialTokens::default(), &mut metadata, &mut notes);
        (metadata, notes)
    }))
}

/// The newest of the SentencePiece models in `directory`: Mistral's own directories have the version in the name.
fn sentencepiece_model(directory: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 5] = [
        "tokenizer.model",
        "tokenizer.model.v7",
        "tokenizer.model.v3",
        "tokenizer.model.v2",
        "tokenizer.model.v1",
    ];
    let mut paths = NAMES.iter().map(|name| directory.join(name));
    paths.find(|path| path.exists())
}

/// The file's tokens and the added ones; ids that nobody names become unused tokens.
fn complete(vocabulary: &mut Vocabulary, vocab_size: u64) -> Vec<Token> {
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

impl Tokenizer {
    /// Adds the tokenizer to `metadata`, keys as llama.cpp's converter writes them; `special` are the
    /// configuration's tokens, for when the tokenizer names none.
    pub(crate) fn describe(self, special: &SpecialTokens, metadata: &mut Metadata, notes: &mut Vec<String>) {
        let Self { kind, settings } = self;
        let (tokens, vocabulary, flags) = match kind {
            Kind::Pieces(tokens, vocabulary, flags) => (tokens, vocabulary, flags),
            Kind::Tekken(tekken, vocab_size) => {
                tekken.describe(vocab_size, metadata);
                return chat_templates::describe(settings.chat_templates, metadata);
            }
        };
        let named = |text: &Option<String>| {
            let text = text.as_ref()?;
            tokens
                .iter()
                .position(|token| token.text == *text)
                .map(|id| id as u32)
        };
        let bos = named(&settings.bos).or(vocabulary.bos).or(special.bos);
        let eos = named(&settings.eos).or(vocabulary.eos).or(special.eos);
        let pad = named(&settings.pad);
        let of_model = settings.add_prefix_space.filter(|_| vocabulary.rules.is_none());
        let add_prefix = of_model.unwrap_or(vocabulary.add_space_prefix);
        let pre = vocabulary.rules.as_ref().and_then(|rules| rules.pre);
        if let Some(rules) = vocabulary.rules {
            rules.describe(&tokens, flags, metadata);
        }
        let mut set = |key: &str, value| set_default(metadata, &format!("tokenizer.{key}"), value);
        set(
            "ggml.model",
            Some(if pre.is_some() { "gpt2" } else { "llama" }.into()),
        );
        set("ggml.pre", Some(pre.unwrap_or("default").into()));
        set(
            "ggml.scores",
            Some(tokens.iter().map(|t| t.score).collect::<Vec<f32>>().into()),
        );
        set(
            "ggml.token_type",
            Some(tokens.iter().map(|t| t.kind as i32).collect::<Vec<i32>>().into()),
        );
        set("ggml.bos_token_id", bos.map(Into::into));
        set("ggml.eos_token_id", eos.map(Into::into));
        set("ggml.unknown_token_id", vocabulary.unk.map(Into::into));
        set("ggml.padding_token_id", pad.map(Into::into));
        set(
            "ggml.add_bos_token",
            Some(settings.add_bos.unwrap_or(vocabulary.add_bos).into()),
        );
        set(
            "ggml.add_eos_token",
            Some(settings.add_eos.unwrap_or(false).into()),
        );
        set("ggml.add_space_prefix", pre.is_none().then(|| add_prefix.into()));
        set(
            "ggml.remove_extra_whitespaces",
            vocabulary.remove_extra_whitespaces.then_some(true.into()),
        );
        let texts: Vec<String> = tokens.into_iter().map(|t| t.text).collect();
        set("ggml.tokens", Some(texts.into()));
        chat_templates::describe(settings.chat_templates, metadata);
        notes.extend(vocabulary.notes);
    }
}

impl Rules {
    /// Adds the rules to `metadata`, and the merges of pieces of bytes as llama.cpp reads them.
    fn describe(self, tokens: &[Token], flags: Vec<u32>, metadata: &mut Metadata) {
        let mut set = |key: &str, value| set_default(metadata, &format!("tokenizer.{key}"), Some(value));
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
fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
