//! Mistral and Mixtral.
#![forbid(unsafe_code)]

pub mod tokenizer;
