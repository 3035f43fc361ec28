//! Models from a Hugging Face hub, in the cache that its Python tools share.
//!
//! ```text
//! HUB/models--OWNER--NAME/blobs/ETAG                a file, named after its hash
//!                        /snapshots/COMMIT/FILE     a link to it
//!                        /refs/REVISION             the commit that a branch is at
//! HUB/.locks/models--OWNER--NAME/ETAG.lock          held while the file comes
//! ```
//!
//! A file gets its name when all of it is there and its hash is right. Until then it lies beside it
//! as `blobs/ETAG.bise.incomplete`, with a `blobs/ETAG.bise.pieces` that says which pieces have
//! come: the next call goes on from there, however the last one ended.
//!
//! 1. [`Name`] reads what a user types: `org/name`, `org/name:file`, `org/name:Q4_K_M`,
//!    `org/name@revision`.
//! 2. [`Hub`] is where models come from: an address, a token, a folder. [`Hub::repository`] asks
//!    what there is.
//! 3. [`Repository::choose`] says which files that means: one GGUF file with all of its parts, or a
//!    directory's.
//! 4. [`Hub::pull`] brings them, and [`Cache`] finds, lists and removes what is there.
//!
//! Tokens are sent to the hub alone, and are never part of an error.
#![forbid(unsafe_code)]

mod cache;
mod choice;
mod client;
mod digest;
mod error;
mod fetch;
mod hub;
mod name;
mod ollama;
mod pieces;

pub use cache::{Cache, Cached};
pub use choice::Choice;
pub use error::HubError;
pub use hub::{Hub, Pulled, RemoteFile, Repository, Watch};
pub use name::{Name, NameError};
pub use ollama::ollama;
