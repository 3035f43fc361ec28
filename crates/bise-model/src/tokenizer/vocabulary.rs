//! The vocabulary as plain data.

use super::{Rules, TokenizerError};

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for characters that have no piece.
    Unknown,
    /// Structure, such as `<s>` or `[INST]`: never made from text, and invisible in text.
    Control,
    /// A piece of text that is always one token wherever it occurs.
    UserDefined,
    /// A piece that helps merging but is never used itself.
    Unused,
    /// One byte of a character that has no piece; written `<0x00>` to `<0xFF>`.
    Byte,
}

impl TokenKind {
    /// The kind numbered `n` in GGUF's `tokenizer.ggml.token_type` and in `tokenizer.model`.
    pub fn from_number(n: i32) -> Option<Self> {
        Some(match n {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Algorithm {
    /// Characters merge, the pair whose piece has the highest score first, or by the pairs that the
    /// rules list.
    SentencePiece,
    /// Bytes merge within words, which tekken's pattern or the rules cut. Pieces are in GPT-2's
    /// alphabet: U+0120 for a space.
    Tekken {
        /// Pairs of tokens, in the order of the tokens that they make.
        merges: Vec<(u32, u32)>,
    },
}

/// What a model's tokenizer says of how much the model can be asked to think.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasoning {
    /// The efforts that it was trained with.
    pub efforts: Vec<String>,
    /// What is written where nothing is asked for.
    pub usual: Option<String>,
}

/// A vocabulary: token `id` is `pieces[id]`, `scores[id]`, `kinds[id]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// How text becomes tokens.
    pub algorithm: Algorithm,
    /// The text of each token; in SentencePiece vocabularies with U+2581 for the space.
    pub pieces: Vec<String>,
    /// Of two possible merges, the one whose piece has the higher score comes first. Byte-level
    /// vocabularies may have none.
    pub scores: Vec<f32>,
    /// What each token stands for.
    pub kinds: Vec<TokenKind>,
    /// Begins a sequence; a control token, whatever its kind says.
    pub bos: Option<u32>,
    /// Ends a sequence; a control token, whatever its kind says.
    pub eos: Option<u32>,
    /// Tokens that end a text like `eos`: ends of turns and messages.
    pub ends: Vec<u32>,
    /// Stands for characters that have no piece, when there are no byte tokens.
    pub unk: Option<u32>,
    /// Whether a prompt begins with `bos`.
    pub add_bos: bool,
    /// Whether a prompt ends with `eos`.
    pub add_eos: bool,
    /// Whether text gets a space in front, so that its first word is spelled like every other.
    pub add_space_prefix: bool,
    /// What a `tokenizer.json` says beyond all this; where there is none, text is encoded as the
    /// `sentencepiece` library or mistral-common's tekken do.
    pub rules: Option<Rules>,
    /// How much the model can be asked to think, where its file says so.
    pub reasoning: Option<Reasoning>,
}

impl Vocabulary {
    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether a token is one that the text of its name never makes.
    pub(super) fn is_special(&self, id: u32) -> bool {
        let kind = self.kinds.get(id as usize);
        matches!(kind, Some(TokenKind::Control | TokenKind::Unknown))
    }

    /// For each token, whether merging can make it: added tokens may also be pieces.
    pub(super) fn pieces_of_model(&self) -> Vec<bool> {
        let of_text = |kind: &TokenKind| match kind {
            TokenKind::Normal | TokenKind::Byte => true,
            TokenKind::Unused => self.rules.is_none(),
            TokenKind::Unknown | TokenKind::Control | TokenKind::UserDefined => false,
        };
        let mut pieces: Vec<bool> = self.kinds.iter().map(of_text).collect();
        for added in self
            .rules
            .iter()
            .flat_map(|rules| &rules.added)
            .filter(|added| added.piece)
        {
            if self.kinds.get(added.id as usize) == Some(&TokenKind::UserDefined) {
                pieces[added.id as usize] = true;
            }
        }
        pieces
    }

    /// Everything that encoding and decoding rely on.
    pub(super) fn validate(&self) -> Result<(), TokenizerError> {
        let tokens = self.len();
        if tokens == 0 {
            return Err(TokenizerError::Empty);
        }
        let scored = self.algorithm == Algorithm::SentencePiece || !self.scores.is_empty();
        for (what, found) in [
            (
                "scores (tokenizer.ggml.scores)",
                if scored { self.scores.len() } else { tokens },
            ),
            ("kinds (tokenizer.ggml.token_type)", self.kinds.len()),
        ] {
            if found != tokens {
                return Err(TokenizerError::Length {
                    what,
                    expected: tokens,
                    found,
                });
            }
        }
        let special = [
            ("beginning-of-sequence (tokenizer.ggml.bos_token_id)", self.bos),
            ("end-of-sequence (tokenizer.ggml.eos_token_id)", self.eos),
            ("unknown (tokenizer.ggml.unknown_token_id)", self.unk),
        ];
        let ends = self.ends.iter().map(|&id| ("end-of-text", Some(id)));
        for (what, id) in special.into_iter().chain(ends) {
            if let Some(found) = id.filter(|&id| id as usize >= tokens) {
                return Err(TokenizerError::SpecialOutOfRange {
                    what,
                    found,
                    tokens,
                });
            }
        }
        for (id, piece) in self.pieces.iter().enumerate() {
            if self.scores.get(id).is_some_and(|score| score.is_nan()) {
                return Err(TokenizerError::Score {
                    id,
                    piece: piece.clone(),
                });
            }
            let spelled =
                self.algorithm == Algorithm::SentencePiece && self.kinds[id] == TokenKind::Byte;
            if spelled && parse_byte(piece).is_none() {
                return Err(TokenizerError::BytePiece {
                    id,
                    piece: piece.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The value of a byte piece: `<0x41>` is 65.
pub(super) fn parse_byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let hex = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u8::from_str_radix(digits, 16).ok())?
}
