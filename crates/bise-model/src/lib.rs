//! Mistral 7B (arXiv 2310.06825) and Mixtral 8x7B (arXiv 2401.04088) as their papers describe them.
//!
//! A [`Model`] is what a GGUF file, or another [checkpoint](bise_format::checkpoint::Checkpoint), holds. A [`Context`]
//! is one run of it over a text: the keys and values so far. A [`tokenizer::Tokenizer`] makes tokens of text, a
//! [`chat::Template`] of conversations, a [`sampler::Sampler`] chooses the next one, and a [`Session`]
//! brings them together: a text in progress. The layers bear the papers' names:
//!
//! ```text
//! h = x + attention(attention_norm(x))
//! y = h + feed_forward(ffn_norm(h))
//! ```
//!
//! ```
//! use bise_model::sampler::{Sampler, SamplerOptions};
//! use bise_model::tokenizer::{Detokenizer, Tokenizer, Vocabulary};
//! use bise_model::{Context, ContextOptions, Limits, Model, Session};
//! use std::ops::ControlFlow;
//!
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
//! let model = Model::open(path.as_ref())?;
//! let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
//! let mut session = Session::new(Context::new(&model, ContextOptions::new(512))?);
//! let mut sampler = Sampler::new(SamplerOptions::greedy())?;
//!
//! let mut text = Detokenizer::continuing(&tokenizer);
//! let mut story = String::from("Once upon a time");
//! let prompt = tokenizer.encode_prompt(story.as_bytes());
//! let limits = Limits { max_tokens: 20, end: &[] };
//! session.generate(&prompt, limits, &mut sampler, |token| {
//!     story.push_str(text.push(token));
//!     ControlFlow::Continue(())
//! })?;
//! assert!(story.len() > 40);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod batch;
mod cache;
pub mod chat;
mod config;
pub mod constraint;
mod context;
mod decoder;
mod diagnosis;
mod engine;
mod error;
mod fingerprint;
mod generation;
mod loading;
mod memory;
mod model;
pub mod sampler;
mod sequence;
mod statistics;
pub mod streamed;
pub mod tokenizer;

pub use batch::{LogitRows, Logits, Part};
pub use config::{Config, Experts, LayerConfig, Rope};
pub use context::{Context, ContextOptions, Watch};
pub use engine::{Engine, EngineOptions, Progress};
pub use error::{BadWeight, ForwardError, GenerateError, LoadError, NotANumber, SharedLoadError};
pub use fingerprint::{CONTRACT, Fingerprint, Hashed, fingerprint};
pub use generation::session::{
    Begun, Extent, Kept, Limits, MEMORY, PromptCache, Restored, Session, SessionError, Stop, is_session,
};
pub use generation::speculation::{Counts, DraftError, Speculation, SpeculationOptions};
pub use generation::token_sampler::TokenSampler;
pub use loading::LoadOptions;
pub use memory::{Advice, MemoryNeeds, TensorNeeds, advise};
pub use model::Model;
pub use sequence::Sequence;
pub use statistics::InputSums;

pub use bise_kernels::ops::KvType;
