//! Files beside the weights, which are read whole.

use crate::error::OpenError;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;

/// The bytes of a file, if it is there.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(OpenError::io(path, e)),
    }
}

/// A JSON file with few values, if it is there: one that would take much more memory than its bytes
/// is refused.
pub(crate) fn read_bounded_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, OpenError> {
    let Some(bytes) = read_optional(path)? else {
        return Ok(None);
    };
    bounded(&bytes, bytes.len()).map_err(|what| OpenError::unsupported(path, what))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| OpenError::json(path, e))
}

/// Refuses JSON that takes much more memory than `file_len` bytes: what describes real weights has
/// long names and few values beside them.
pub(crate) fn bounded(json: &[u8], file_len: usize) -> Result<(), String> {
    const SPARE: usize = 128 << 10;
    // What the parsers take for an object and for any value, with room for growth.
    const OBJECT: usize = 640;
    const VALUE: usize = 96;
    let cost = |byte: &u8| match byte {
        b'{' => OBJECT,
        b',' | b'[' | b':' => VALUE,
        _ => 0,
    };
    let cost: usize = json.iter().map(cost).sum();
    if cost > 3 * file_len + SPARE {
        return Err(format!("it has too many entries for {file_len} bytes"));
    }
    Ok(())
}
