//! Text that follows a grammar: JSON, a JSON schema, a regular expression, a context-free grammar.
//!
//! A [`Constraint`] is a [`Mask`] for the sampler: before each token it forbids all that the text
//! could not go on with. The grammar is read and followed by the `llguidance` crate; what it is fed
//! with is made here: the [`TokenTable`], each token of our vocabulary as the bytes that it adds to
//! the text.
//!
//! The end-of-text token is allowed where the grammar lets the text end, and it is the only one
//! that is where the grammar leaves nothing else. So the text is always the beginning of one that
//! the grammar describes, and is one of those when the model ends it.
//!
//! ```
//! use bise_model::constraint::{Constraint, Grammar, TokenTable};
//! use bise_model::sampler::{Sampler, SamplerOptions};
//! use bise_model::tokenizer::{Detokenizer, Tokenizer, Vocabulary};
//! use bise_model::{Context, ContextOptions, Limits, Model, Session};
//! use std::ops::ControlFlow;
//!
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
//! let model = Model::open(path.as_ref())?;
//! let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
//! let table = TokenTable::new(&tokenizer)?;
//! let mut sampler = Sampler::new(SamplerOptions { seed: Some(1), ..Default::default() })?;
//! sampler.set_mask(Some(Box::new(Constraint::new(&table, &Grammar::Regex("(yes|no)!".into()))?)));
//!
//! let mut session = Session::new(Context::new(&model, ContextOptions::new(64))?);
//! let (mut text, mut answer) = (Detokenizer::continuing(&tokenizer), String::new());
//! let limits = Limits { max_tokens: 20, end: tokenizer.ends() };
//! session.generate(&tokenizer.encode_prompt(b"Once"), limits, &mut sampler, |token| {
//!     answer.push_str(text.push(token));
//!     ControlFlow::Continue(())
//! })?;
//! assert!(answer == "yes!" || answer == "no!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod gbnf;
mod grammar;
mod keys;
mod once;
mod table;

pub use error::ConstraintError;
pub use grammar::Grammar;
pub use table::TokenTable;

use crate::sampler::{Mask, MaskError};
use keys::Keys;
use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokTrie};
use std::fmt;

/// What the text so far leaves possible under a [`Grammar`].
///
/// It follows the history that it is asked about: tokens that were taken back are forgotten, new
/// ones are read. Text before the first history asked about is the prompt, which the grammar says
/// nothing about.
///
/// ```
/// use bise_model::Model;
/// use bise_model::constraint::{Constraint, Grammar, TokenTable};
/// use bise_model::sampler::Mask;
/// use bise_model::tokenizer::{Tokenizer, Vocabulary};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let model = Model::open(path.as_ref())?;
/// let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
/// let table = TokenTable::new(&tokenizer)?;
/// let mut constraint = Constraint::new(&table, &Grammar::Regex("[0-9]{2}".into()))?;
/// let digit = tokenizer.token("<0x37>").unwrap();
/// let end = tokenizer.ends()[0];
/// for (history, digits, ends) in [(&[][..], true, false), (&[digit][..], true, false), (&[digit; 2][..], false, true)] {
///     constraint.look(history)?;
///     assert_eq!((constraint.allows(digit), constraint.allows(end)), (digits, ends));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Constraint {
    matcher: Matcher,
    table: TokenTable,
    /// Of a JSON text, its keys at the beginning and after each token read.
    keys: Option<Vec<Keys>>,
    /// Where the constrained text begins in the history.
    start: Option<usize>,
    /// The constrained tokens so far.
    read: Vec<u32>,
    /// Of the tokens read; none where they changed since.
    mask: Option<SimpleVob>,
}

impl Constraint {
    /// Reads `grammar`, for texts of the tokens in `table`.
    ///
    /// # Errors
    /// When the grammar is none; the error says where and why.
    pub fn new(table: &TokenTable, grammar: &Grammar) -> Result<Self, ConstraintError> {
        Ok(Self {
            matcher: table.matcher(grammar)?,
            table: table.clone(),
            keys: grammar.is_json().then(|| vec![Keys::default()]),
            start: None,
            read: Vec::new(),
            mask: None,
        })
    }

    /// Begins a new text, after the first `start` tokens of the histories to come.
    ///
    /// # Errors
    /// When the parser has failed before.
    pub fn begin(&mut self, start: usize) -> Result<(), MaskError> {
        self.start = Some(start);
        self.take_back_to(0)
    }

    /// Whether the text of the history that was looked at last is complete: it may end here.
    pub fn is_complete(&mut self) -> bool {
        self.matcher.is_accepting().unwrap_or(false)
    }

    fn take_back_to(&mut self, len: usize) -> Result<(), MaskError> {
        let tokens = self.read.len() - len;
        if tokens > 0 {
            self.mask = None;
            self.matcher.rollback(tokens).map_err(reason)?;
            self.read.truncate(len);
            self.keys.iter_mut().for_each(|keys| keys.truncate(len + 1));
        }
        Ok(())
    }

    fn read(&mut self, tokens: &[u32]) -> Result<(), MaskError> {
        if tokens.is_empty() {
            return Ok(());
        }
        self.mask = None;
        // Checked first: a token that the parser refuses would leave it useless.
        let valid = self.matcher.validate_tokens(tokens).map_err(reason)?;
        let valid = self.read_keys(&tokens[..valid]);
        self.matcher.consume_tokens(&tokens[..valid]).map_err(reason)?;
        self.read.extend_from_slice(&tokens[..valid]);
        match tokens.get(valid) {
            Some(token) => Err(MaskError::new(format!(
                "token {token} does not follow the grammar"
            ))),
            None => Ok(()),
        }
    }
}

impl Constraint {
    /// Follows the keys of a JSON text; gives how many tokens came before a key that comes twice.
    fn read_keys(&mut self, tokens: &[u32]) -> usize {
        let Some(states) = &mut self.keys else {
            return tokens.len();
        };
        for (i, &token) in tokens.iter().enumerate() {
            let mut keys = states.last().cloned().unwrap_or_default();
            let bytes = self.table.trie().token(token);
            let is_text = bytes.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER);
            if is_text && !keys.push(bytes) {
                return i;
            }
            states.push(keys);
        }
        tokens.len()
    }
}

impl Mask for Constraint {
    fn look(&mut self, history: &[u32]) -> Result<(), MaskError> {
        let start = *self.start.get_or_insert(history.len());
        let text = history.get(start..).ok_or_else(|| {
            let len = history.len();
            MaskError::new(format!(
                "a history of {len} tokens, shorter than the prompt of {start}"
            ))
        })?;
        let same = self.read.iter().zip(text).take_while(|(a, b)| a == b).count();
        self.take_back_to(same)?;
        self.read(&text[same..])?;
        if self.mask.is_none() {
            let mut mask = self.matcher.compute_mask_or_eos().map_err(reason)?;
            if let Some(keys) = self.keys.as_ref().and_then(|keys| keys.last()) {
                once::forbid(&self.table, &self.matcher, keys, &mut mask);
            }
            self.mask = Some(mask);
        }
        Ok(())
    }

    fn allows(&self, token: u32) -> bool {
        let in_table = |mask: &&SimpleVob| (token as usize) < mask.len();
        self.mask
            .as_ref()
            .filter(in_table)
            .is_some_and(|mask| mask.is_allowed(token))
    }
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Constraint");
        shown
            .field("start", &self.start)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

/// What the parser says, without its notes to itself.
fn reason(error: impl fmt::Display) -> MaskError {
    let text = error.to_string();
    let text = text.split("\n<").next().unwrap_or("").trim_end();
    MaskError::new(format!("the grammar cannot be followed: {text}"))
}
