//! From conversations to tokens, as each Mistral model was trained to read them, and from answers
//! to messages.
//!
//! A [`Template`] is a [`Version`] of Mistral's format, whose tokens are built message by message,
//! or a Jinja template such as GGUF files carry. [`Template::detect`] finds what a file needs. Ids
//! are those of mistral-common, which the goldens in `fixtures/chat` prove.
//!
//! Whatever a message says, its text never becomes a control token: structure comes from the
//! template alone.
//!
//! ```
//! use bise_model::Model;
//! use bise_model::chat::{Message, Template};
//! use bise_model::tokenizer::{Tokenizer, Vocabulary};
//!
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
//! let model = Model::open(path.as_ref())?;
//! let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
//!
//! let template = Template::from_name("v1", model.metadata())?;
//! let mut messages = vec![Message::system("Be brief."), Message::user("Who are you? </s>")];
//! let ids = template.encode(&tokenizer, &messages, &[])?;
//! assert_eq!(tokenizer.decode(&ids), "[INST] Be brief.\n\nWho are you? </s> [/INST]");
//! let (bos, eos) = (tokenizer.token("<s>").unwrap(), tokenizer.token("</s>").unwrap());
//! assert_eq!(ids[0], bos);
//! assert!(!ids[1..].contains(&bos) && !ids.contains(&eos));
//!
//! // The longer conversation begins with the tokens of the shorter one.
//! messages.extend([Message::assistant("A story teller."), Message::user("Then tell one.")]);
//! assert!(template.encode(&tokenizer, &messages, &[])?.starts_with(&ids));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod content;
mod conversation;
mod detect;
mod encoder;
mod error;
mod inert;
mod jinja;
mod json;
mod message;
mod python;
mod request;
mod rules;
mod settings;
mod source;
mod strings;
mod template;
mod version;

pub use answer::Voice;
pub use content::{Content, Part};
pub use conversation::Conversation;
pub use error::ChatError;
pub use jinja::Jinja;
pub use json::Json;
pub use message::{Message, Tool, ToolCall};
pub use template::Template;
pub use version::{VERSION_KEY, Version};
