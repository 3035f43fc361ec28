//! Whether a file is what it was when it was written: hashes, and probes of what its model says.

pub(crate) mod digest;
pub(crate) mod manifest;
pub(crate) mod probe;
pub(crate) mod verify;
