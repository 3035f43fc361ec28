//! Why a model does not come.

use std::io;
use std::path::{Path, PathBuf};

/// Why a model does not come, or cannot be found, listed or removed. No file has a name that it
/// should not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum HubError {
    #[error("{}", .path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("{what}: the hub was not reached")]
    Network {
        what: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error(
        "{what}: the connection breaks again and again, {have} of {size} bytes are there\nthe same command goes on from there"
    )]
    Broken { what: String, have: u64, size: u64 },

    #[error(
        "{what}: there is no such repository, or it is private (HTTP 401)\ncheck the name; for a private one set HF_TOKEN, or run: hf auth login"
    )]
    Unauthorized { what: String },

    #[error(
        "{what}: access has to be asked for on the repository's page (HTTP 403)\nthen set HF_TOKEN, or run: hf auth login"
    )]
    Forbidden { what: String },

    #[error("{what}: there is no such {kind} (HTTP 404)")]
    NotFound { what: String, kind: &'static str },

    #[error(
        "{what}: the hub is asked too often (HTTP 429), and says to come back in {seconds} seconds\nthe same command goes on then"
    )]
    Busy { what: String, seconds: u64 },

    #[error(
        "{what}: the hub answers HTTP {status}\nthe same command goes on when it is well again"
    )]
    Status { what: String, status: u16 },

    #[error("{what}: the answer is not what was asked for: {found}, expected {expected}")]
    Answer {
        what: String,
        found: String,
        expected: String,
    },

    #[error(
        "{what}: damaged on the way: its {kind} is {found}, expected {expected}\nwhat came was removed; the same command gets it again"
    )]
    Damaged {
        what: String,
        kind: &'static str,
        found: String,
        expected: String,
    },

    #[error("{}: {needed} bytes are needed, and {free} are free", .path.display())]
    DiskFull {
        path: PathBuf,
        needed: u64,
        free: u64,
    },

    #[error("{name} is not in the cache, and HF_HUB_OFFLINE forbids to get it")]
    Offline { name: String },

    #[error("{name}: {problem}; there are:\n{}", .files.join("\n"))]
    Choice {
        name: String,
        problem: String,
        files: Vec<String>,
    },

    #[error("stopped; the same command goes on from where it was")]
    Stopped,

    #[error("neither HF_HUB_CACHE, HF_HOME nor a home folder is known: set HF_HOME")]
    NoFolder,
}

impl HubError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
