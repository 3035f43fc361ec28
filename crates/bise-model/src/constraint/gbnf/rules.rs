//! What a grammar says.

/// What a rule, or a part of it, describes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// One of these.
    Choice(Vec<Expr>),
    /// These, one after the other; nothing at all when there are none.
    Sequence(Vec<Expr>),
    /// As many times, from the first number to the second, if there is one.
    Repeat(Box<Expr>, u32, Option<u32>),
    /// A character of these ranges, or of no such range.
    Chars {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// What the rule of this number describes.
    Rule(usize),
}

/// Rules, the first of which is `root`.
#[derive(Debug)]
pub(super) struct Rules {
    pub names: Vec<String>,
    pub bodies: Vec<Expr>,
}
