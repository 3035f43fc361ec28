//! Mistral 7B (arXiv 2310.06825) and Mixtral 8x7B (arXiv 2401.04088) as their papers describe them.
//!
//! A [`Model`] is what a GGUF file holds: configuration, weights and tokenizer. A [`Context`] is one run of it over
//! a text: the keys and values so far. The layers bear the papers' names:
//!
//! ```text
//! h = x + attention(attention_norm(x))
//! y = h + feed_forward(ffn_norm(h))
//! ```
#![forbid(unsafe_code)]

mod attention;
mod block;
mod config;
mod context;
mod error;
mod feed_forward;
mod generate;
mod kv_cache;
mod linear;
mod model;
mod moe;
pub mod sampler;
pub mod tokenizer;
mod weights;

pub use config::{Config, Experts};
pub use context::{Context, ContextOptions};
pub use error::{ForwardError, GenerateError, LoadError};
pub use generate::{Limits, Stop, generate};
pub use kv_cache::KvType;
pub use model::Model;
