//! Constrained text: schemas, expressions and grammars, and what models write under them.

mod gbnf;
mod laws;
mod schemas;
mod writer;

use writer::{Writer, writers};
