//! Names and first bytes, by which files are told.

use crate::error::OpenError;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Names that unfinished downloads have, after the file's own.
pub(crate) const UNFINISHED: [&str; 6] = [
    ".incomplete",
    ".part",
    ".partial",
    ".download",
    ".crdownload",
    ".aria2",
];

/// The first bytes of a file.
pub(crate) fn start_of(path: &Path) -> Result<Vec<u8>, OpenError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|e| OpenError::io(path, e))?;
    let read = file.take(1024).read_to_end(&mut start);
    read.map_err(|e| OpenError::io(path, e))?;
    Ok(start)
}
