//! Session files: a text, its keys and values, and the state of its sampler.
//!
//! Integers are little-endian.
//!
//! ```text
//!   0  "bise session"              12 bytes
//!  12  FORMAT                      u32
//!  16  CONTRACT                    u32
//!  20  type of keys and values     u32       as GGUF numbers types
//!  24  fingerprint of the model    32 bytes
//!  56  sliding window, 0 for none  u64
//!  64  tokens dropped              u64       those kept follow them
//!  72  tokens kept                 u64
//!  80  tokens read                 u64       of all; keys and values are theirs, and 0 when the text alone was saved
//!  88  earliest                    u64       tokens that the text can be cut to; keys and values seen from there on
//!  96  bytes of sampler state      u64       0 for none
//! 104  bytes of notes              u64
//! 112  0                           16 bytes
//! 128  SHA-256 of what is above    32 bytes
//! 160  tokens kept                 u32 each
//!      sampler state
//!      notes                       of the program that uses the session
//!      chunks                      [chunk][layer][kv_head], as the cache holds them
//!      SHA-256 of all that is above  32 bytes
//! ```
//!
//! The length follows from the header. With a sliding window it does not grow beyond what the ring
//! and [`MEMORY`](super::MEMORY) hold. Keys and values are the same bits on every machine, so a
//! session can be taken to another one.

use super::hashing::{HASH, Hashing};
use super::header::{HEADER, Header, MAGIC};
use super::{Session, SessionError};
use crate::sampler::SamplerState;
use bise_format::atomic::write_atomic;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// What a session file holds besides the text, its keys and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Where the sampler was.
    pub sampler: Option<SamplerState>,
    /// What the program wants to know again, in any form of its own.
    pub notes: Vec<u8>,
}

/// How much of a session is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The text with its keys and values: who goes on need not read it again.
    Whole,
    /// The text alone, some bytes for each token; keys and values become the same bits when it is
    /// read again. Of a text so long that its beginning is no longer known, the whole is written.
    Text,
}

impl Session {
    /// Writes the session to a file, which appears when it is complete: the text, keys and values,
    /// and what else is `kept`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self, path: &Path, kept: &Kept) -> Result<(), SessionError> {
        write_atomic(path, |out| self.write(out, kept, Extent::Whole))
    }

    /// Writes to `out` what a session file holds.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(
        &mut self,
        out: &mut impl Write,
        kept: &Kept,
        extent: Extent,
    ) -> Result<(), SessionError> {
        self.stop_ahead();
        let state = kept
            .sampler
            .as_ref()
            .map_or_else(Vec::new, SamplerState::to_bytes);
        let read = match extent {
            Extent::Text if self.dropped == 0 => 0,
            _ => self.read,
        };
        let sequence = self.context.sequence();
        // Where layers see unlike, one may have let go of what would be needed.
        let (read, earliest) = match sequence.kv.earliest(read) {
            Some(earliest) => (read, earliest),
            None if self.dropped == 0 => (0, 0),
            None => return Err(io::Error::from(io::ErrorKind::NotFound).into()),
        };
        let header = self.header(read, earliest, &state, &kept.notes);
        let mut out = Hashing::new(out);
        let bytes = header.to_bytes(self);
        out.write_all(&bytes)?;
        let hash = out.hash();
        out.write_all(&hash)?;
        for token in &self.tokens {
            out.write_all(&token.to_le_bytes())?;
        }
        out.write_all(&state)?;
        out.write_all(&kept.notes)?;
        sequence.kv.write(earliest, read, &mut out)?;
        let hash = out.hash();
        Ok(out.write_all(&hash)?)
    }

    fn header(&self, read: usize, earliest: usize, state: &[u8], notes: &[u8]) -> Header {
        Header {
            dropped: self.dropped as u64,
            kept: self.tokens.len() as u64,
            read: read as u64,
            earliest: earliest as u64,
            state: state.len() as u64,
            notes: notes.len() as u64,
        }
    }

    /// Bytes of the file that [`save`](Self::save) writes, without the sampler's state and notes.
    pub fn file_len(&self) -> u64 {
        let sequence = self.context.sequence();
        let earliest = sequence.kv.earliest(self.read).unwrap_or(0);
        let header = self.header(self.read, earliest, &[], &[]);
        header.file_len(&sequence.kv).unwrap_or(u64::MAX)
    }

    /// Goes on with the text of a file that [`save`](Self::save) wrote, as if it had never been
    /// stopped, and returns what else it keeps.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or belongs to another model, another type of keys
    /// and values or another version of the numeric contract, or when it does not fit the context.
    /// The text is empty then.
    pub fn restore(&mut self, path: &Path) -> Result<Kept, SessionError> {
        self.clear();
        let restored = self.read_file(path);
        if restored.is_err() {
            self.clear();
        }
        restored
    }

    fn read_file(&mut self, path: &Path) -> Result<Kept, SessionError> {
        let (mut file, header, tokens) = open(path, self)?;
        let vocabulary = self.context.model().vocabulary_size() as u64;
        // Not more than the file's length.
        let [mut state, mut notes] = [header.state, header.notes].map(|len| vec![0; len as usize]);
        file.read_exact(&mut state)?;
        file.read_exact(&mut notes)?;
        let (earliest, read) = (header.earliest as usize, header.read as usize);
        self.context.sequence_mut().restore(earliest, read, &mut file)?;
        let end = file.bytes;
        let hash = file.hash();
        if !is_next(&mut file, &hash)? {
            let (what, offset) = ("what follows the header, before the checksum", end);
            return Err(SessionError::Damaged { what, offset });
        }
        if let Some(&token) = tokens.iter().find(|&&token| u64::from(token) >= vocabulary) {
            let (what, found) = ("a token", u64::from(token));
            let expected = format!("less than {vocabulary}");
            return Err(SessionError::Unsound {
                what,
                found,
                expected,
            });
        }
        (self.tokens, self.dropped, self.read) =
            (tokens, header.dropped as usize, header.read as usize);
        let sampler = match state.is_empty() {
            true => None,
            false => Some(SamplerState::from_bytes(&state)?),
        };
        Ok(Kept { sampler, notes })
    }
}

/// A file that was read up to the tokens: the rest of it, its header, and the tokens.
pub(super) type Opened = (Hashing<BufReader<File>>, Header, Vec<u32>);

/// Whether the file at `path` begins as session files do.
///
/// # Errors
/// When it cannot be read.
pub fn is_session(path: &Path) -> io::Result<bool> {
    let mut start = [0; MAGIC.len()];
    match File::open(path)?.read_exact(&mut start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(start == *MAGIC),
    }
}

/// Reads a file up to the tokens, and checks that it goes with `session`. The tokens are not proven
/// to be right before the rest is read too.
pub(super) fn open(path: &Path, session: &Session) -> Result<Opened, SessionError> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file").into());
    }
    let len = about.len();
    let mut file = Hashing::new(BufReader::with_capacity(1 << 20, file));
    let mut bytes = [0; HEADER];
    let magic = file.read_exact(&mut bytes[..MAGIC.len()]);
    if magic.is_err() || bytes[..MAGIC.len()] != *MAGIC {
        return Err(SessionError::Magic);
    }
    let least = (HEADER + 2 * HASH) as u64;
    if len < least {
        return Err(SessionError::Length {
            found: len,
            expected: least,
        });
    }
    file.read_exact(&mut bytes[MAGIC.len()..])?;
    let hash = file.hash();
    if !is_next(&mut file, &hash)? {
        return Err(SessionError::Damaged {
            what: "the header",
            offset: 0,
        });
    }
    let header = Header::from_bytes(&bytes, session, len)?;
    // Not more than the file's length.
    let mut tokens = vec![0; 4 * header.kept as usize];
    file.read_exact(&mut tokens)?;
    let tokens = tokens
        .as_chunks()
        .0
        .iter()
        .map(|&t| u32::from_le_bytes(t))
        .collect();
    Ok((file, header, tokens))
}

/// Whether `expected` is what comes next.
fn is_next(file: &mut impl Read, expected: &[u8; HASH]) -> io::Result<bool> {
    let mut found = [0; HASH];
    file.read_exact(&mut found)?;
    Ok(found == *expected)
}
