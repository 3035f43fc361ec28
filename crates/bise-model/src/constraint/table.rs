//! Our vocabulary as the parser wants it.

use super::grammar::Grammar;
use super::{ConstraintError, gbnf};
use crate::tokenizer::{TokenKind, Tokenizer};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{
    InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv,
};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The tokens of a vocabulary as bytes, in a tree: made once, for any number of constraints.
#[derive(Clone)]
pub struct TokenTable(Arc<Parts>);

struct Parts {
    factory: ParserFactory,
    /// Tokens with a quotation mark or a comma.
    marked: Vec<u32>,
    /// Tokens of one byte each.
    bytes: Vec<Option<u32>>,
}

/// White space between the parts of a JSON text: a space, or a line and its indentation. Without a
/// bound a model may write it for ever.
const WHITESPACE: &str = r"\x20|\x0D?\x0A(\x20{0,24}|\x09{0,12})";

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
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words)
            .with_eos_tokens(tokenizer.ends());
        let env: TokEnv = Arc::new(Tokens(trie));
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
            .map_err(|error| ConstraintError::Vocabulary {
                problem: error.to_string(),
            })?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        let of = |id: u32| words[id as usize].as_slice();
        let ids = 0..words.len() as u32;
        let marked = |id: &u32| of(*id).iter().any(|byte| b"\",".contains(byte));
        let mut bytes = vec![None; 256];
        for id in ids.clone() {
            if let &[byte] = of(id) {
                bytes[usize::from(byte)].get_or_insert(id);
            }
        }
        let marked = ids.filter(marked).collect();
        Ok(Self(Arc::new(Parts {
            factory,
            marked,
            bytes,
        })))
    }

    /// The tree.
    pub(super) fn trie(&self) -> &TokTrie {
        self.0.factory.tok_env().tok_trie()
    }

    /// The tokens with a quotation mark or a comma: of JSON, those that can begin or end a key.
    pub(super) fn marked(&self) -> &[u32] {
        &self.0.marked
    }

    /// A token that is this byte and no more.
    pub(super) fn byte(&self, byte: u8) -> Option<u32> {
        self.0.bytes[usize::from(byte)]
    }

    /// A parser at the beginning of a text.
    pub(super) fn matcher(&self, grammar: &Grammar) -> Result<Matcher, ConstraintError> {
        let (kind, source) = match grammar {
            Grammar::JsonObject => (
                "JSON schema",
                TopLevelGrammar::from_json_schema(bounded(serde_json::json!({"type": "object"}))),
            ),
            Grammar::JsonSchema(text) => {
                let schema = serde_json::from_str(text).map_err(|error| ConstraintError::Json {
                    problem: error.to_string(),
                })?;
                ("JSON schema", TopLevelGrammar::from_json_schema(bounded(schema)))
            }
            Grammar::Regex(text) => ("regular expression", TopLevelGrammar::from_regex(text)),
            Grammar::Lark(text) => ("Lark grammar", TopLevelGrammar::from_lark(text.clone())),
            Grammar::Gbnf(text) => {
                ("GBNF grammar", TopLevelGrammar::from_lark(gbnf::to_lark(text)?))
            }
        };
        let parser =
            self.0
                .factory
                .create_parser(source)
                .map_err(|error| ConstraintError::Grammar {
                    kind,
                    problem: format!("{error:#}").trim_end().to_owned(),
                })?;
        Ok(Matcher::new(Ok(parser)))
    }
}

impl fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.trie().vocab_size();
        f.debug_struct("TokenTable")
            .field("tokens", &tokens)
            .finish_non_exhaustive()
    }
}

/// The schema, with a bound on white space unless it says of itself how the parser is to treat
/// that.
fn bounded(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Bool(true) => Value::Object(Map::new()),
        schema => schema,
    };
    if let Some(object) = schema
        .as_object_mut()
        .filter(|object| !object.contains_key("x-guidance"))
    {
        object.insert(
            "x-guidance".to_owned(),
            serde_json::json!({ "whitespace_pattern": WHITESPACE }),
        );
    }
    schema
}

/// The bytes of token `id`; what stands for no text lies behind a byte that no text has.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let hidden = tokenizer.kind(id) == Some(TokenKind::Control) || tokenizer.ends().contains(&id);
    match hidden {
        true => [&[TokTrie::SPECIAL_TOKEN_MARKER], tokenizer.piece(id).as_bytes()].concat(),
        false => tokenizer.bytes(id).into_owned(),
    }
}

/// The parser never needs to encode text itself: it forces no tokens, so that the model alone
/// chooses how to spell what the grammar asks for.
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
