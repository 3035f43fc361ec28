//! Text to tokens and back, as Mistral's vocabularies ask for it: SentencePiece, or byte-level BPE
//! (tekken).
//!
//! Token ids are identical to those of the `sentencepiece` library and of mistral-common's tekken,
//! and under the [`Rules`] of a `tokenizer.json` to those of transformers, which the goldens in
//! `fixtures/tokenizer` prove. SentencePiece's merging is written out here, in `merge.rs`, because
//! the order of merges in SentencePiece is by score and then by place in the text. BPE libraries
//! order merges by rank, one rank for each pair, and cannot express that two pairs tie: in
//! vocabularies extended with pieces of one common score, as many fine-tunes do, they give other
//! ids.
//!
//! ```
//! use bise_model::tokenizer::{Algorithm, TokenKind, Tokenizer, Vocabulary};
//!
//! let tokenizer = Tokenizer::new(Vocabulary {
//!     algorithm: Algorithm::SentencePiece,
//!     pieces: ["<unk>", "<s>", "</s>", "\u{2581}", "a", "b", "ab"].map(String::from).to_vec(),
//!     scores: vec![0.0, 0.0, 0.0, -2.0, -3.0, -4.0, -1.0],
//!     kinds: [TokenKind::Unknown, TokenKind::Control, TokenKind::Control]
//!         .into_iter()
//!         .chain([TokenKind::Normal; 4])
//!         .collect(),
//!     bos: Some(1),
//!     eos: Some(2),
//!     ends: Vec::new(),
//!     unk: Some(0),
//!     add_bos: true,
//!     add_eos: false,
//!     add_space_prefix: true,
//!     rules: None,
//!     reasoning: None,
//! })?;
//! let ids = tokenizer.encode_prompt(b"ab a");
//! assert_eq!(ids, [1, 3, 6, 3, 4]);
//! assert_eq!(tokenizer.decode(&ids), "ab a");
//! # Ok::<(), bise_model::tokenizer::TokenizerError>(())
//! ```

mod byte_level;
mod bytes;
mod characters;
mod detokenizer;
mod ends;
mod error;
mod infill;
pub(crate) mod literals;
mod merge;
mod metadata;
mod pairs;
mod rules;
mod sentencepiece;
mod vocabulary;
mod words;

use std::borrow::Cow;
use std::collections::HashMap;

pub use detokenizer::Detokenizer;
pub use ends::ENDS_KEY;
pub use error::TokenizerError;
pub use rules::{Added, Controls, Rules};
pub use vocabulary::{Algorithm, Reasoning, TokenKind, Vocabulary};

use byte_level::ByteLevel;
use characters::Characters;
use pairs::Merger;
use rules::{Pipeline, Place};
use sentencepiece::SentencePiece;
use vocabulary::parse_byte;

/// Encodes text with a vocabulary, and decodes tokens.
///
/// ```
/// use bise_model::Model;
/// use bise_model::tokenizer::{TokenKind, Tokenizer, Vocabulary};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
/// let ids = tokenizer.encode_prompt("Once </s> upon".as_bytes());
/// assert_eq!(tokenizer.decode(&ids), "Once </s> upon");
/// // Only the first is a control token, whatever the text says.
/// assert!(ids[1..].iter().all(|&id| tokenizer.kind(id) != Some(TokenKind::Control)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    model: Model,
    pipeline: Option<Pipeline>,
    ids: HashMap<Box<str>, u32>,
    ends: Vec<u32>,
}

/// A vocabulary prepared for its algorithm.
#[derive(Debug)]
enum Model {
    SentencePiece(SentencePiece),
    ByteLevel(ByteLevel),
    Characters(Characters),
}

impl Model {
    fn new(vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let pairs = vocabulary
            .rules
            .as_ref()
            .and_then(|rules| Some((rules, rules.merges.as_ref()?)));
        Ok(match (&vocabulary.algorithm, pairs) {
            (Algorithm::Tekken { merges }, _) => {
                Self::ByteLevel(ByteLevel::new(vocabulary, merges)?)
            }
            (_, Some((rules, merges))) => {
                Self::Characters(Characters::new(vocabulary, rules, merges)?)
            }
            (_, None) => Self::SentencePiece(SentencePiece::new(vocabulary)?),
        })
    }

    /// A text without rules. `prefix` says whether it may have SentencePiece's space in front.
    fn text(&self, text: &str, prefix: bool, out: &mut Vec<u32>) {
        match self {
            Self::SentencePiece(model) => model.encode(text, prefix, out),
            Self::ByteLevel(model) => model.encode(text, out),
            Self::Characters(model) => model.encode(text, &mut Merger::default(), out),
        }
    }

    /// A word that the rules have cut out.
    fn word(&self, word: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        match self {
            Self::SentencePiece(model) => model.merge(word, out),
            Self::ByteLevel(model) => model.word(word, merger, out),
            Self::Characters(model) => model.encode(word, merger, out),
        }
    }
}

/// What a token contributes to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Surface<'a> {
    Hidden,
    Unknown,
    /// With U+2581 for spaces.
    Text(&'a str),
    Byte(u8),
    Bytes(&'a [u8]),
}

impl Tokenizer {
    /// Prepares `vocabulary` for use.
    ///
    /// # Errors
    /// When the vocabulary is empty or contradicts itself; the error names the token.
    pub fn new(mut vocabulary: Vocabulary) -> Result<Self, TokenizerError> {
        vocabulary.validate()?;
        // Some converters mark these as text, which would let a prompt's text make them.
        for id in [vocabulary.bos, vocabulary.eos].into_iter().flatten() {
            vocabulary.kinds[id as usize] = TokenKind::Control;
        }
        vocabulary.mark_ends();
        let model = Model::new(&vocabulary)?;
        let pipeline = vocabulary
            .rules
            .as_ref()
            .map(|rules| Pipeline::new(&vocabulary, rules))
            .transpose()?;
        let bytes = matches!(model, Model::ByteLevel(_));
        if pipeline
            .as_ref()
            .is_some_and(|pipeline| pipeline.is_byte_level() != bytes)
        {
            return Err(TokenizerError::Rule {
                what: "pre_tokenizer",
                found: format!(
                    "ByteLevel must be there for pieces of bytes, and only for them; they are {}",
                    if bytes { "of bytes" } else { "of characters" }
                ),
            });
        }
        let mut ids = HashMap::with_capacity(vocabulary.len());
        for (id, piece) in vocabulary.pieces.iter().enumerate() {
            ids.entry(piece.as_str().into()).or_insert(id as u32);
        }
        Ok(Self {
            ends: vocabulary.all_ends(),
            vocabulary,
            model,
            pipeline,
            ids,
        })
    }

    /// The tokens of `text`: of the text only, without a beginning or an end.
    ///
    /// Whatever the text says, there is no control token among them: `<s>` in a text is three
    /// characters. Each byte that is not UTF-8 counts as U+FFFD. The empty text has no tokens.
    pub fn encode(&self, text: &[u8]) -> Vec<u32> {
        self.encode_at(&valid(text), &[], Place::Beginning)
    }

    /// As [`encode`](Self::encode), of a text that stands behind a control token.
    pub fn encode_behind(&self, text: &[u8]) -> Vec<u32> {
        self.encode_at(&valid(text), &[], Place::Behind)
    }

    /// As [`encode`](Self::encode), of a text that mistral-common puts between control tokens: a
    /// text of its own, with SentencePiece's space in front of it whatever it begins with.
    pub fn encode_alone(&self, text: &[u8]) -> Vec<u32> {
        self.encode_at(&valid(text), &[], Place::Alone)
    }

    /// The tokens of `text` that goes on with another, as [`Detokenizer::continuing`] reads them:
    /// without the space that SentencePiece puts in front of a text.
    pub fn encode_continuing(&self, text: &[u8]) -> Vec<u32> {
        self.encode_at(&valid(text), &[], Place::Continuing)
    }

    /// The tokens of a text in which the program has placed control tokens: in ascending order,
    /// which bytes stand for which.
    ///
    /// Ids are those that Hugging Face's transformers give for the whole text. Files that say
    /// nothing of added tokens leave open which text gets a space in front: behind a control token
    /// it has one, its own or another.
    ///
    /// # Panics
    /// When a range does not lie in `text` between characters, or overlaps the one before.
    pub fn encode_placed(&self, text: &str, controls: Controls) -> Vec<u32> {
        self.encode_at(text, controls, Place::Beginning)
    }

    fn encode_at(&self, text: &str, controls: Controls, place: Place) -> Vec<u32> {
        let mut ids = Vec::new();
        if let Some(pipeline) = &self.pipeline {
            let mut merger = Merger::default();
            pipeline.cut(text, controls, place, |part| match part {
                Ok(id) => ids.push(id),
                Err(word) => self.model.word(word, &mut merger, &mut ids),
            });
            return ids;
        }
        if controls.is_empty() {
            self.model.text(text, place != Place::Continuing, &mut ids);
            return ids;
        }
        let mut at = 0;
        let end = (text.len()..text.len(), None);
        for (range, id) in controls
            .iter()
            .map(|(range, id)| (range.clone(), Some(*id)))
            .chain([end])
        {
            let between = &text[at..range.start];
            let written = between
                .strip_prefix(' ')
                .filter(|_| self.vocabulary.add_space_prefix);
            self.model.text(written.unwrap_or(between), true, &mut ids);
            ids.extend(id);
            at = range.end;
        }
        ids
    }

    /// The tokens of a prompt that a text is to follow: [`encode`](Self::encode) with one
    /// beginning-of-sequence token in front where the vocabulary asks for it.
    pub fn encode_prompt(&self, text: &[u8]) -> Vec<u32> {
        let v = &self.vocabulary;
        let mut ids: Vec<u32> = v.bos.filter(|_| v.add_bos).into_iter().collect();
        ids.extend(self.encode(text));
        ids
    }

    /// The tokens of a text that is complete: [`encode_prompt`](Self::encode_prompt) with one
    /// end-of-sequence token behind where the vocabulary asks for it. Such a token in a prompt
    /// would end the text before it begins.
    pub fn encode_complete(&self, text: &[u8]) -> Vec<u32> {
        let v = &self.vocabulary;
        let mut ids = self.encode_prompt(text);
        ids.extend(v.eos.filter(|_| v.add_eos));
        ids
    }

    /// The text of one token as the vocabulary writes it (`<s>`, `<0x0A>`, U+2581 for a space, in
    /// byte-level vocabularies U+0120); empty for an id outside the vocabulary.
    pub fn piece(&self, id: u32) -> &str {
        self.vocabulary.pieces.get(id as usize).map_or("", String::as_str)
    }

    /// What a token stands for; `None` for an id outside the vocabulary.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.vocabulary.kinds.get(id as usize).copied()
    }

    /// The token that the vocabulary writes as `piece`, of any kind: `[INST]`, `<0x0A>`. Not for
    /// user text.
    pub fn token(&self, piece: &str) -> Option<u32> {
        self.ids.get(piece).copied()
    }

    /// The tokens that end a text: the vocabulary's `eos` first.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn surface(&self, id: u32) -> Surface<'_> {
        let piece = self.piece(id);
        match self.kind(id) {
            None | Some(TokenKind::Control) => Surface::Hidden,
            Some(kind) => match &self.model {
                Model::ByteLevel(model) => Surface::Bytes(model.bytes_of(id)),
                Model::SentencePiece(_) | Model::Characters(_) => {
                    sentencepiece_surface(piece, kind)
                }
            },
        }
    }
}

/// `text` with U+FFFD for each byte that is not UTF-8.
fn valid(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut valid = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        valid.push_str(chunk.valid());
        valid.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(valid)
}

/// What a token of a SentencePiece vocabulary contributes to a text.
fn sentencepiece_surface(piece: &str, kind: TokenKind) -> Surface<'_> {
    match kind {
        TokenKind::Control => Surface::Hidden,
        TokenKind::Unknown => Surface::Unknown,
        TokenKind::Byte => parse_byte(piece).map_or(Surface::Hidden, Surface::Byte),
        TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused => Surface::Text(piece),
    }
}
