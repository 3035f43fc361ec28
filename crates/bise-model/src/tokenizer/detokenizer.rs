//! From tokens to text, one token at a time.

use super::sentencepiece::SPACE;
use super::{Algorithm, Surface, Tokenizer};

/// What SentencePiece writes for the unknown token.
const UNKNOWN_TEXT: &str = " \u{2047} ";

/// Turns tokens into text as they come: what all pushes and the finish give together is what
/// [`Tokenizer::decode`] gives for all the tokens at once.
///
/// - Bytes wait until they make a whole character. Bytes that never will become U+FFFD: one each
///   in a SentencePiece vocabulary, one for each beginning of a character in a byte-level one.
/// - Control tokens give no text.
/// - The space that encoding put in front of the text is taken away again.
///
/// ```
/// use bise_model::Model;
/// use bise_model::tokenizer::{Detokenizer, Tokenizer, Vocabulary};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
/// let mut detokenizer = Detokenizer::new(&tokenizer);
/// let mut text = String::new();
/// for id in tokenizer.encode("a caf\u{e9} \u{1f43a}".as_bytes()) {
///     // A character that several tokens spell comes with the last of them.
///     text.push_str(detokenizer.push(id));
/// }
/// text.push_str(detokenizer.finish());
/// assert_eq!(text, "a caf\u{e9} \u{1f43a}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// The beginning of a character: at most three bytes between calls.
    pending: Vec<u8>,
    /// Whether a leading space is still to be removed.
    at_start: bool,
    /// Whether each byte that makes no character becomes a U+FFFD of its own.
    each_byte: bool,
    text: String,
}

impl<'a> Detokenizer<'a> {
    /// For tokens that begin a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        let vocabulary = tokenizer.vocabulary();
        let at_start = vocabulary.add_space_prefix;
        Self {
            tokenizer,
            pending: Vec::with_capacity(4),
            at_start,
            each_byte: vocabulary.algorithm == Algorithm::SentencePiece,
            text: String::new(),
        }
    }

    /// For tokens that go on with a text, such as a completion of a prompt: a leading space stays.
    pub fn continuing(tokenizer: &'a Tokenizer) -> Self {
        Self {
            at_start: false,
            ..Self::new(tokenizer)
        }
    }

    /// The text that `id` completes, possibly none.
    pub fn push(&mut self, id: u32) -> &str {
        self.text.clear();
        match self.tokenizer.surface(id) {
            Surface::Byte(byte) => self.push_byte(byte),
            Surface::Bytes(bytes) => self.push_bytes(bytes),
            Surface::Text(piece) => {
                self.give_up_pending();
                self.push_piece(piece);
            }
            Surface::Unknown => {
                self.give_up_pending();
                self.text.push_str(UNKNOWN_TEXT);
            }
            Surface::Hidden => self.give_up_pending(),
        }
        self.at_start &= self.text.is_empty();
        &self.text
    }

    /// Ends the text: what was still waiting. The next push begins in the middle of a text.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        self.give_up_pending();
        self.at_start = false;
        &self.text
    }

    fn push_piece(&mut self, piece: &str) {
        let mut rest = piece;
        if self.at_start && self.text.is_empty() {
            // Converters store user-defined pieces with plain spaces.
            if let Some(stripped) = piece.strip_prefix([SPACE, ' ']) {
                (rest, self.at_start) = (stripped, false);
            }
        }
        self.text
            .extend(rest.chars().map(|c| if c == SPACE { ' ' } else { c }));
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.pending.is_empty() => self.text.push_str(text),
            _ => bytes.iter().for_each(|&byte| self.push_byte(byte)),
        }
    }

    fn push_byte(&mut self, byte: u8) {
        // The bytes before this one begin a character, so what fails is the first of them.
        self.pending.push(byte);
        while !self.pending.is_empty() {
            match std::str::from_utf8(&self.pending) {
                Ok(text) => {
                    self.text.push_str(text);
                    self.pending.clear();
                }
                Err(e) if e.error_len().is_none() => break,
                Err(e) => {
                    let bad = if self.each_byte {
                        1
                    } else {
                        e.error_len().unwrap_or(1)
                    };
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    self.pending.drain(..bad);
                }
            }
        }
    }

    /// The pending bytes cannot become a character any more.
    fn give_up_pending(&mut self) {
        let count = if self.each_byte {
            self.pending.len()
        } else {
            self.pending.len().min(1)
        };
        self.text
            .extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, count));
        self.pending.clear();
    }
}

impl Tokenizer {
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
}
