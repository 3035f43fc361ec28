//! From tokens to text, one token at a time.

use super::sentencepiece::SPACE;
use super::{Surface, Tokenizer};

/// What SentencePiece writes for the unknown token.
const UNKNOWN_TEXT: &str = " \u{2047} ";

/// Turns tokens into text as they come: what all pushes and the finish give together is what
/// [`Tokenizer::decode`] gives for all the tokens at once.
///
/// - Bytes wait until they make a whole character; bytes that never will become U+FFFD, one each.
/// - Control tokens give no text.
/// - The space that encoding put in front of the text is taken away again.
#[derive(Debug, Clone)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// The beginning of a character: at most three bytes between calls.
    pending: Vec<u8>,
    /// Whether a leading space is still to be removed.
    at_start: bool,
    text: String,
}

impl<'a> Detokenizer<'a> {
    /// For tokens that begin a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        let at_start = tokenizer.vocabulary().add_space_prefix;
        Self {
            tokenizer,
            pending: Vec::with_capacity(4),
            at_start,
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
                Err(_) => {
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    self.pending.remove(0);
                }
            }
        }
    }

    /// The pending bytes cannot become a character any more.
    fn give_up_pending(&mut self) {
        let replacements = self.pending.drain(..).map(|_| char::REPLACEMENT_CHARACTER);
        self.text.extend(replacements);
    }
}
