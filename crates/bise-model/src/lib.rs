//! Mistral 7B (arXiv 2310.06825) and Mixtral 8x7B (arXiv 2401.04088) as their papers describe them.
//!
//! This crate knows no terminal and no socket. What one meets, in this order:
//!
//! 1. [`Model`]: configuration and weights of a GGUF file, or of another
//!    [checkpoint](bise_format::checkpoint::Checkpoint). Copies share the weights.
//! 2. [`tokenizer::Tokenizer`] makes tokens of text, [`chat::Template`] of conversations, and
//!    [`tokenizer::Detokenizer`] text of tokens.
//! 3. [`sampler::Sampler`] chooses the next token, which a [`constraint::Constraint`] may restrict.
//! 4. [`Session`]: one text in progress, which a [`Context`] processes. It drafts tokens with a
//!    [`Speculation`], and is saved to a file.
//! 5. [`Engine`]: many texts at once. Each is a [`Sequence`]; a batch is a slice of [`Part`]s.
//!
//! The layers bear the papers' names:
//!
//! ```text
//! h = x + attention(attention_norm(x))
//! y = h + feed_forward(ffn_norm(h))
//! ```
//!
//! # One text
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
//!
//! # Many texts
//!
//! In each pass a text has a piece of its prompt, or the one token that was chosen for it; it gets
//! the logits that it would get alone, bit for bit.
//!
//! ```
//! use bise_model::sampler::{Sampler, SamplerOptions};
//! use bise_model::tokenizer::{Tokenizer, Vocabulary};
//! use bise_model::{Engine, EngineOptions, LogitRows, Model, Part};
//!
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
//! let model = Model::open(path.as_ref())?;
//! let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
//! let mut engine = Engine::new(&model, EngineOptions::default());
//! let mut sampler = Sampler::new(SamplerOptions::greedy())?;
//!
//! let prompts = ["Once upon a time", "The dog"];
//! let mut texts = prompts.map(|prompt| tokenizer.encode_prompt(prompt.as_bytes()));
//! let mut sequences = [engine.sequence(64), engine.sequence(64)];
//! for _ in 0..8 {
//!     let pairs = sequences.iter_mut().zip(&texts);
//!     let parts = pairs.map(|(sequence, text)| {
//!         let new = &text[sequence.len()..];
//!         Part::new(sequence, new, LogitRows::Last)
//!     });
//!     let logits = engine.forward(&mut parts.collect::<Vec<_>>())?;
//!     for (i, text) in texts.iter_mut().enumerate() {
//!         text.push(sampler.sample(logits.of(i), text)?);
//!     }
//! }
//! assert_eq!(sequences[0].len() + 1, texts[0].len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Failing
//!
//! A function fails with the enum of its module, such as [`LoadError`] and [`ForwardError`]. An
//! error says what it knows and has its cause as [`source`](std::error::Error::source);
//! [`bise_format::full_text`] says all of it. After an error sequences and sessions are as before.
//! No bytes of a file make a function panic.
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
mod rope;
pub mod sampler;
mod sequence;
mod statistics;
pub mod streamed;
pub mod tokenizer;

pub use batch::{LogitRows, Logits, Part};
pub use config::{Config, Experts, LayerConfig};
pub use context::{Context, ContextOptions, Watch};
pub use engine::{Engine, EngineOptions, Progress};
pub use error::{BadWeight, ForwardError, GenerateError, LoadError, NotANumber, SharedLoadError};
pub use fingerprint::{CONTRACT, Fingerprint, Hashed, fingerprint};
pub use generation::session::{
    Begun, Extent, Kept, Limits, MEMORY, PromptCache, Restored, Session, SessionError, Stop,
    is_session,
};
pub use generation::speculation::{Counts, DraftError, Lookup, Speculation, SpeculationOptions};
pub use generation::stop_texts::StopTexts;
pub use generation::token_sampler::TokenSampler;
pub use loading::LoadOptions;
pub use memory::{Advice, MemoryNeeds, TensorNeeds, advise};
pub use model::Model;
pub use rope::Rope;
pub use sequence::Sequence;
pub use statistics::InputSums;

pub use bise_kernels::ops::KvType;
