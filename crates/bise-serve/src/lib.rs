//! An HTTP server whose answers do not depend on who else is asking; and the same for many prompts
//! in one process, by [`batch`].
#![forbid(unsafe_code)]

mod api;
pub mod batch;
mod fault;
mod gather;
mod http;
mod options;
mod page;
mod pooling;
pub mod request;
pub mod sampling;
pub mod scheduler;
mod served;
mod server;
mod tally;
mod tools;
mod writer;

pub use fault::Fault;
pub use options::{Patience, ServerOptions};
pub use served::{MOST_CHOICES, MOST_GRAMMAR, Served, ServedOptions, Wanted};
pub use server::{Loading, Server, ServerError};
