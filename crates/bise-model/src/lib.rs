//! Mistral and Mixtral.
#![forbid(unsafe_code)]

pub mod sampler;
pub mod tokenizer;
