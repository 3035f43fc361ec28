//! What can be wrong with a grammar.

/// Why there is no constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// The vocabulary has no token that ends a text, so that a constrained text could not end.
    #[error("the vocabulary has no end-of-text token, which constrained text needs")]
    NoEnd,
    /// The token table could not be made.
    #[error("no grammar can be followed in this vocabulary: {problem}")]
    Vocabulary {
        /// What the parser says.
        problem: String,
    },
    /// A JSON schema that is no JSON.
    #[error("the schema is not JSON: {problem}")]
    Json {
        /// Where and what.
        problem: String,
    },
    /// A grammar, schema or expression that the parser does not accept.
    #[error("the {kind} is not accepted: {problem}")]
    Grammar {
        /// JSON schema, regular expression, Lark grammar or GBNF grammar.
        kind: &'static str,
        /// Where and what, in the parser's words.
        problem: String,
    },
    /// A GBNF grammar that is none, or says what cannot be expressed.
    #[error("line {line}, column {column} of the GBNF grammar: {problem}")]
    Gbnf {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        problem: String,
    },
}
