//! The first bytes of a session file: what must be the same to use it, and how long its parts are.

use super::file::HASH;
use super::{Session, SessionError};
use crate::fingerprint::{CONTRACT, Fingerprint};
use crate::kv_cache::type_id;
use bise_kernels::ops::CHUNK;
use std::ops::Range;

pub(super) const MAGIC: &[u8; 12] = b"bise session";
/// The version of the format.
const FORMAT: u32 = 2;
pub(super) const HEADER: usize = 128;

/// The numbers of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub dropped: u64,
    pub kept: u64,
    pub read: u64,
    pub first_chunk: u64,
    pub state: u64,
    pub notes: u64,
}

impl Header {
    /// The chunks in the file.
    pub fn chunks(&self) -> Range<u64> {
        self.first_chunk..self.read.div_ceil(CHUNK as u64)
    }

    /// Bytes of the file, if there can be so many.
    pub fn file_len(&self, bytes_of_chunk: usize) -> Option<u64> {
        let chunks = self.chunks();
        let kv = (chunks.end.checked_sub(chunks.start)?).checked_mul(bytes_of_chunk as u64)?;
        let parts = [self.kept.checked_mul(4)?, self.state, self.notes, kv];
        parts
            .into_iter()
            .try_fold((HEADER + 2 * HASH) as u64, u64::checked_add)
    }

    pub fn to_bytes(self, session: &Session<'_>) -> [u8; HEADER] {
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
            self.notes,
        ];
        bytes.extend(numbers.map(u64::to_le_bytes).concat());
        bytes.resize(HEADER, 0);
        bytes.try_into().expect("numbers of known sizes")
    }

    /// Reads a header, and checks that it goes with `session`; `len` is that of the file.
    pub fn from_bytes(bytes: &[u8; HEADER], session: &Session<'_>, len: u64) -> Result<Self, SessionError> {
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
        let [dropped, kept, read, first_chunk, state, notes] = [64, 72, 80, 88, 96, 104].map(u64_at);
        let header = Self {
            dropped,
            kept,
            read,
            first_chunk,
            state,
            notes,
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
