//! Our vocabulary as the parser wants it.

use super::grammar::Grammar;
use super::{ConstraintError, gbnf};
use crate::tokenizer::{TokenKind, Tokenizer};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use std::fmt;
use std::sync::Arc;

/// The tokens of a vocabulary as bytes, in a tree: made once, for any number of constraints.
#[derive(Clone)]
pub struct TokenTable(Arc<ParserFactory>);

impl TokenTable {
    /// The table of `tokenizer`'s vocabulary.
    ///
    /// # Errors
    /// When the vocabulary has no token that ends a text, or the parser cannot use it.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, ConstraintError> {
        let vocabulary = tokenizer.vocabulary();
        let &[end, ..] = tokenizer.ends() else {
            return Err(ConstraintError::NoEnd);
        };
        let words: Vec<Vec<u8>> = (0..vocabulary.len() as u32)
            .map(|id| word(tokenizer, id))
            .collect();
        let trie =
            TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words).with_eos_tokens(tokenizer.ends());
        let env: TokEnv = Arc::new(Tokens(trie));
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&env, InferenceCapabilities::default(), &slices).map_err(|error| {
                ConstraintError::Vocabulary {
                    problem: error.to_string(),
                }
            })?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self(Arc::new(factory)))
    }

    /// A parser at the beginning of a text.
    pub(super) fn matcher(&self, grammar: &Grammar) -> Result<Matcher, ConstraintError> {
        let (kind, source) = match grammar {
            Grammar::JsonObject => (
                "JSON schema",
                TopLevelGrammar::from_json_schema(serde_json::json!({"type": "object"})),
            ),
            Grammar::JsonSchema(text) => {
                let schema = serde_json::from_str(text).map_err(|error| ConstraintError::Json {
                    problem: error.to_string(),
                })?;
                ("JSON schema", TopLevelGrammar::from_json_schema(schema))
            }
            Grammar::Regex(text) => ("regular expression", TopLevelGrammar::from_regex(text)),
            Grammar::Lark(text) => ("Lark grammar", TopLevelGrammar::from_lark(text.clone())),
            Grammar::Gbnf(text) => ("GBNF grammar", TopLevelGrammar::from_lark(gbnf::to_lark(text)?)),
        };
        let parser = self
            .0
            .create_parser(source)
            .map_err(|error| ConstraintError::Grammar {
                kind,
                problem: format!("{error:#}"),
            })?;
        Ok(Matcher::new(Ok(parser)))
    }
}

impl fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.0.tok_env().tok_trie().vocab_size();
        f.debug_struct("TokenTable")
            .field("tokens", &tokens)
            .finish_non_exhaustive()
    }
}

/// The bytes of token `id`; what stands for no text lies behind a byte that no text has.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let hidden = tokenizer.kind(id) == Some(TokenKind::Control) || tokenizer.ends().contains(&id);
    match hidden {
        true => [&[TokTrie::SPECIAL_TOKEN_MARKER], tokenizer.piece(id).as_bytes()].concat(),
        false => tokenizer.bytes(id).into_owned(),
    }
}

/// The parser never needs to encode text itself: it forces no tokens, so that the model alone chooses how to spell what
/// the grammar asks for.
struct Tokens(TokTrie);

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(text)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}
