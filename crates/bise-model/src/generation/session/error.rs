//! What can be wrong with a session file.

use crate::sampler::SamplerError;
use std::io;

/// Why a session could not be saved or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("the file is no session: it does not begin with \"bise session\"")]
    Magic,
    /// Bytes have changed since it was written.
    #[error("the session is damaged: {what} at byte {offset} does not have its checksum")]
    Damaged {
        /// Part of the file.
        what: &'static str,
        /// Where it begins.
        offset: u64,
    },
    /// Bytes are missing, or there are too many.
    #[error("the session is damaged: it is {found} bytes long; expected {expected}")]
    Length {
        /// Bytes of the file.
        found: u64,
        /// Bytes that its header asks for.
        expected: u64,
    },
    /// It was made with something else than it is to be used with.
    #[error("the session does not fit: its {what} is {found}; expected {expected}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What the session has.
        found: String,
        /// What is in use.
        expected: String,
    },
    /// A number in it has no meaning.
    #[error("the session is not sound: {what} is {found}; expected {expected}")]
    Unsound {
        /// The number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What would be right.
        expected: String,
    },
    /// The sampler's state is none.
    #[error("the session is not sound")]
    State(#[from] SamplerError),
}
