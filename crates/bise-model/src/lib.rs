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

mod attention;
mod block;
pub mod chat;
mod choose;
mod config;
pub mod constraint;
mod context;
mod diagnosis;
mod error;
mod feed_forward;
mod fingerprint;
mod inputs;
mod kv_cache;
mod linear;
mod memory;
mod model;
mod moe;
pub mod sampler;
mod session;
mod speculation;
pub mod streamed;
pub mod tokenizer;
mod weights;

pub use choose::Choose;
pub use config::{Config, Experts};
pub use context::{Context, ContextOptions, Watch};
pub use diagnosis::BadWeight;
pub use error::{ForwardError, GenerateError, LoadError, NotANumber};
pub use fingerprint::{CONTRACT, Fingerprint, Hashed, fingerprint};
pub use inputs::InputSums;
pub use memory::{Advice, MemoryNeeds, TensorNeeds, advise};
pub use model::{LoadOptions, Model};
pub use session::{
    Extent, Kept, Limits, MEMORY, PromptCache, Restored, Session, SessionError, Stop, is_session,
};
pub use speculation::{Counts, DraftError, Speculation, SpeculationOptions};

pub use bise_kernels::ops::KvType;
