//! Models by the names that a hub or ollama has for them.

pub mod list;
pub mod located;
mod looker;
pub mod made;
pub mod pull;
pub mod remove;
