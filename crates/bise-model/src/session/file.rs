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
//!  80  tokens read                 u64       of all; keys and values are theirs
//!  88  first chunk                 u64       of keys and values; all up to the last one read are here
//!  96  bytes of sampler state      u64       0 for none
//! 104  0                           24 bytes
//! 128  BLAKE3 of what is above     32 bytes
//! 160  tokens kept                 u32 each
//!      sampler state
//!      chunks                      [chunk][layer][kv_head], as the cache holds them
//!      BLAKE3 of all that is above 32 bytes
//! ```
//!
//! The length follows from the header. With a sliding window it does not grow beyond what the ring and [`MEMORY`](super::MEMORY)
//! hold. Keys and values are the same bits on every machine, so a session can be taken to another one.

use super::Session;
use crate::fingerprint::{CONTRACT, Fingerprint};
use crate::kv_cache::type_id;
use crate::sampler::{SamplerError, SamplerState};
use bise_tensor::atomic::write_atomic;
use bise_tensor::ops::CHUNK;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::path::Path;

const MAGIC: &[u8; 12] = b"bise session";
/// The version of the format.
const FORMAT: u32 = 1;
const HEADER: usize = 128;
const HASH: usize = 32;

/// Why a session could not be saved or restored.
#[derive(Debug, thiserror::Error)]
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
    #[error("the session is not sound: {0}")]
    State(#[from] SamplerError),
}

/// The numbers of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub dropped: u64,
    pub kept: u64,
    pub read: u64,
    pub first_chunk: u64,
    state: u64,
}

impl Header {
    /// The chunks in the file.
    pub fn chunks(&self) -> Range<u64> {
        self.first_chunk..self.read.div_ceil(CHUNK as u64)
    }

    /// Bytes of the file, if there can be so many.
    fn file_len(&self, bytes_of_chunk: usize) -> Option<u64> {
        let chunks = self.chunks();
        let kv = (chunks.end.checked_sub(chunks.start)?).checked_mul(bytes_of_chunk as u64)?;
        let parts = [self.kept.checked_mul(4)?, self.state, kv];
        parts
            .into_iter()
            .try_fold((HEADER + 2 * HASH) as u64, u64::checked_add)
    }

    fn to_bytes(self, session: &Session<'_>) -> [u8; HEADER] {
        let (kind, window) = (type_id(session.context.options().kv), window(session));
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend([FORMAT, CONTRACT, kind].map(u32::to_le_bytes).concat());
        bytes.extend(session.context.model().fingerprint().bytes());
        let numbers = [
            window,
            self.dropped,
            self.kept,
            self.read,
            self.first_chunk,
            self.state,
        ];
        bytes.extend(numbers.map(u64::to_le_bytes).concat());
        bytes.resize(HEADER, 0);
        bytes.try_into().expect("numbers of known sizes")
    }

    /// Reads a header, and checks that it goes with `session`; `len` is that of the file.
    fn from_bytes(bytes: &[u8; HEADER], session: &Session<'_>, len: u64) -> Result<Self, SessionError> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let same = |what, found: String, expected: String| match found == expected {
            true => Ok(()),
            false => Err(SessionError::Mismatch {
                what,
                found,
                expected,
            }),
        };
        let number = |what, found: u32, expected: u32| same(what, found.to_string(), expected.to_string());
        number("format", u32_at(12), FORMAT)?;
        number("version of the numeric contract", u32_at(16), CONTRACT)?;
        let options = session.context.options();
        number(
            "type of keys and values (as GGUF numbers them)",
            u32_at(20),
            type_id(options.kv),
        )?;
        let model: [u8; 32] = bytes[24..56].try_into().expect("32 bytes");
        let (found, expected) = (Fingerprint::from(model), session.context.model().fingerprint());
        same("model", found.to_string(), expected.to_string())?;
        same(
            "sliding window",
            u64_at(56).to_string(),
            window(session).to_string(),
        )?;
        let [dropped, kept, read, first_chunk, state] = [64, 72, 80, 88, 96].map(u64_at);
        let header = Self {
            dropped,
            kept,
            read,
            first_chunk,
            state,
        };
        header.check(session)?;
        let expected = header.file_len(session.context.cache().bytes_of_chunk());
        match expected {
            Some(expected) if expected == len => Ok(header),
            _ => Err(SessionError::Length {
                found: len,
                expected: expected.unwrap_or(u64::MAX),
            }),
        }
    }

    fn check(&self, session: &Session<'_>) -> Result<(), SessionError> {
        let check = |good: bool, what, found, expected: String| match good {
            true => Ok(()),
            false => Err(SessionError::Unsound {
                what,
                found,
                expected,
            }),
        };
        let cache = session.context.cache();
        let tokens = self.dropped.saturating_add(self.kept);
        let capacity = session.context.capacity().map_or(u64::MAX >> 8, |c| c as u64);
        check(
            self.dropped == 0 || session.context.capacity().is_none(),
            "tokens dropped",
            self.dropped,
            "0".into(),
        )?;
        check(
            tokens <= u64::MAX >> 8,
            "tokens",
            tokens,
            format!("at most {}", u64::MAX >> 8),
        )?;
        check(
            self.dropped <= self.read && self.read <= tokens,
            "tokens read",
            self.read,
            format!("{} to {tokens}", self.dropped),
        )?;
        if self.read > capacity {
            let (what, found) = ("number of tokens", self.read.to_string());
            let expected = format!("at most the {capacity} of the context");
            return Err(SessionError::Mismatch {
                what,
                found,
                expected,
            });
        }
        let Range { start, end } = self.chunks();
        let least = end.saturating_sub(cache.chunks() as u64);
        let most = cache.visible(self.read as usize).start / CHUNK;
        check(
            (least..=most as u64).contains(&start),
            "the first chunk",
            start,
            format!("{least} to {most}"),
        )
    }
}

pub(super) fn window(session: &Session<'_>) -> u64 {
    session
        .context
        .model()
        .config()
        .sliding_window
        .map_or(0, |w| w as u64)
}

impl Session<'_> {
    /// Writes the session to a file, which appears when it is complete: the text, keys and values, and the sampler's state.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self, path: &Path, sampler: Option<&SamplerState>) -> Result<(), SessionError> {
        self.stop_ahead();
        let state = sampler.map_or_else(Vec::new, SamplerState::to_bytes);
        let chunks = self.context.cache().held(self.read);
        let header = self.header(&chunks, &state);
        write_atomic(path, |out| {
            let mut out = Hashing::new(out);
            let bytes = header.to_bytes(self);
            out.write_all(&bytes)?;
            let hash = out.hash();
            out.write_all(&hash)?;
            for token in &self.tokens {
                out.write_all(&token.to_le_bytes())?;
            }
            out.write_all(&state)?;
            self.context.cache().write(chunks, &mut out)?;
            let hash = out.hash();
            out.write_all(&hash)
        })?;
        Ok(())
    }

    fn header(&self, chunks: &Range<usize>, state: &[u8]) -> Header {
        Header {
            dropped: self.dropped as u64,
            kept: self.tokens.len() as u64,
            read: self.read as u64,
            first_chunk: chunks.start as u64,
            state: state.len() as u64,
        }
    }

    /// Bytes of the file that [`save`](Self::save) writes, without the sampler's state.
    pub fn file_len(&self) -> u64 {
        let header = self.header(&self.context.cache().held(self.read), &[]);
        header
            .file_len(self.context.cache().bytes_of_chunk())
            .unwrap_or(u64::MAX)
    }

    /// Goes on with the text of a file that [`save`](Self::save) wrote, as if it had never been stopped, and returns the
    /// state of its sampler.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or belongs to another model, another type of keys and values or another
    /// version of the numeric contract, or when it does not fit the context. The text is empty then.
    pub fn restore(&mut self, path: &Path) -> Result<Option<SamplerState>, SessionError> {
        self.clear();
        let restored = self.read_file(path);
        if restored.is_err() {
            self.clear();
        }
        restored
    }

    fn read_file(&mut self, path: &Path) -> Result<Option<SamplerState>, SessionError> {
        let (mut file, header, tokens) = open(path, self)?;
        let vocabulary = self.context.model().vocabulary_size() as u64;
        let mut state = vec![0; header.state as usize];
        file.read_exact(&mut state)?;
        let chunks = header.chunks();
        self.context.restore(
            chunks.start as usize..chunks.end as usize,
            header.read as usize,
            &mut file,
        )?;
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
        (self.tokens, self.dropped, self.read) = (tokens, header.dropped as usize, header.read as usize);
        if state.is_empty() {
            return Ok(None);
        }
        Ok(Some(SamplerState::from_bytes(&state)?))
    }
}

/// A file that was read up to the tokens: the rest of it, its header, and the tokens.
pub(super) type Opened = (Hashing<BufReader<File>>, Header, Vec<u32>);

/// Reads a file up to the tokens, and checks that it goes with `session`. The tokens are not proven to be right before the
/// rest is read too.
pub(super) fn open(path: &Path, session: &Session<'_>) -> Result<Opened, SessionError> {
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

/// A reader or writer that hashes what goes through it.
pub(super) struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    fn hash(&self) -> [u8; HASH] {
        *self.hasher.finalize().as_bytes()
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.pass(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(bytes)?;
        self.pass(&bytes[..n]);
        Ok(n)
    }
}
