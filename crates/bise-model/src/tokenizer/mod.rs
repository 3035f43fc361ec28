//! Text to tokens and back, as Mistral's vocabularies ask for it: SentencePiece, or byte-level BPE (tekken).
//!
//! Token ids are identical to those of the `sentencepiece` library and of mistral-common's tekken, which the
//! goldens in `fixtures/tokenizer` prove. SentencePiece's merging is written out here, in `merge.rs`, because the order of merges in
//! SentencePiece is by score and then by place in the text. BPE libraries order merges by rank, one rank for
//! each pair, and cannot express that two pairs tie: in vocabularies extended with pieces of one common
//! score, as many fine-tunes do, they give other ids.
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
//!     reasoning: None,
//! })?;
//! let ids = tokenizer.encode_prompt(b"ab a");
//! assert_eq!(ids, [1, 3, 6, 3, 4]);
//! assert_eq!(tokenizer.decode(&ids), "ab a");
//! # Ok::<(), bise_model::tokenizer::TokenizerError>(())
//! ```

mod byte_level;
mod bytes;
mod detokenizer;
mod ends;
mod error;
mod infill;
pub(crate) mod literals;
mod merge;
mod metadata;
mod sentencepiece;
mod vocabulary;
mod words;

use std::collections::HashMap;

pub use detokenizer::Detokenizer;
pub use ends::ENDS_KEY;
pub use error::TokenizerError;
pub use vocabulary::{Algorithm, Reasoning, TokenKind, Vocabulary};

use byte_level::ByteLevel;
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
    ids: HashMap<Box<str>, u32>,
    ends: Vec<u32>,
}

/// A vocabulary prepared for its algorithm.
#[derive(Debug)]
enum Model {
    SentencePiece(SentencePiece),
    ByteLevel(ByteLevel),
}

impl Model {
    /// `prefix` says whether the text may have SentencePiece's space in front.
    fn encode(&self, text: &[u8], prefix: bool, out: &mut Vec<u32>) {
        match self {
            Self::SentencePiece(model) => model.encode(text, prefix, out),
            Self::ByteLevel(model) => model.encode(text, out),
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
        let model = match &vocabulary.algorithm {
            Algorithm::SentencePiece => Model::SentencePiece(SentencePiece::new(&vocabulary)?),
            Algorithm::Tekken { merges } => Model::ByteLevel(ByteLevel::new(&vocabulary, merges)?),
        };
        let mut ids = HashMap::with_capacity(vocabulary.len());
        for (id, piece) in vocabulary.pieces.iter().enumerate() {
            ids.entry(piece.as_str().into()).or_insert(id as u32);
        }
        Ok(Self {
            ends: vocabulary.all_ends(),
            vocabulary,
            model,
            ids,
        })
    }

    /// The tokens of `text`: of the text only, without a beginning or an end.
    ///
    /// Whatever the text says, there is no control token among them: `<s>` in a text is three characters.
    /// Each byte that is not UTF-8 counts as U+FFFD. The empty text has no tokens.
    pub fn encode(&self, text: &[u8]) -> Vec<u32> {
        let mut ids = Vec::new();
        self.model.encode(text, true, &mut ids);
        ids
    }

    /// The tokens of `text` that goes on with another, as [`Detokenizer::continuing`] reads them: without the space that
    /// SentencePiece puts in front of a text.
    pub fn encode_continuing(&self, text: &[u8]) -> Vec<u32> {
        let mut ids = Vec::new();
        self.model.encode(text, false, &mut ids);
        ids
    }

    /// The tokens of a whole prompt: [`encode`](Self::encode) with one beginning-of-sequence token in front
    /// and one end-of-sequence token behind, where the vocabulary asks for them.
    pub fn encode_prompt(&self, text: &[u8]) -> Vec<u32> {
        let v = &self.vocabulary;
        let mut ids: Vec<u32> = v.bos.filter(|_| v.add_bos).into_iter().collect();
        self.model.encode(text, true, &mut ids);
        ids.extend(v.eos.filter(|_| v.add_eos));
        ids
    }

    /// The text of `ids`. Control tokens, and ids outside the vocabulary, give none.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = Detokenizer::new(self);
        let mut text = String::new();
        for &id in ids {
            text.push_str(detokenizer.push(id));
        }
        text.push_str(detokenizer.finish());
        text
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

    /// The token that the vocabulary writes as `piece`, of any kind: `[INST]`, `<0x0A>`. Not for user text.
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
                Model::SentencePiece(_) => sentencepiece_surface(piece, kind),
            },
        }
    }
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
