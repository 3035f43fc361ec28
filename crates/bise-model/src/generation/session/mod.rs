//! A text in progress.

mod begin;
mod error;
mod file;
mod hashing;
mod header;
mod limits;
mod prompt_cache;
mod text;

pub use begin::Begun;
pub use error::SessionError;
pub use file::{Extent, Kept, is_session};
pub use limits::{Limits, Stop};
pub use prompt_cache::{PromptCache, Restored};
pub use text::{MEMORY, Session};
