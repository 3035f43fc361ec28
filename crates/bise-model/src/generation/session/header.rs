//! The first bytes of a session file: what must be the same to use it, and how long its parts are.

use super::hashing::HASH;
use super::{Session, SessionError};
use crate::cache::KvCache;
use crate::fingerprint::{CONTRACT, Fingerprint};
use bise_kernels::ops::CHUNK;
use sha2::{Digest, Sha256};

pub(super) const MAGIC: &[u8; 12] = b"bise session";
/// The version of the format.
const FORMAT: u32 = 4;
pub(super) const HEADER: usize = 128;

/// The numbers of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub dropped: u64,
    pub kept: u64,
    pub read: u64,
    pub earliest: u64,
    pub state: u64,
    pub notes: u64,
}

impl Header {
    /// Bytes of the file, if there can be so many.
    pub fn file_len(&self, cache: &KvCache) -> Option<u64> {
        let [earliest, read] = [self.earliest, self.read].map(|n| usize::try_from(n).ok());
        let kv = cache.written_bytes(earliest?, read?)?;
        let parts = [self.kept.checked_mul(4)?, self.state, self.notes, kv];
        parts
            .into_iter()
            .try_fold((HEADER + 2 * HASH) as u64, u64::checked_add)
    }

    pub fn to_bytes(self, session: &Session) -> [u8; HEADER] {
        let (kind, window) = (session.context.options().kv.id(), window(session));
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend([FORMAT, CONTRACT, kind].map(u32::to_le_bytes).concat());
        bytes.extend(session.context.model().fingerprint().bytes());
        let numbers = [
            window,
            self.dropped,
            self.kept,
            self.read,
            self.earliest,
            self.state,
            self.notes,
        ];
        bytes.extend(numbers.map(u64::to_le_bytes).concat());
        bytes.resize(HEADER, 0);
        bytes.try_into().expect("numbers of known sizes")
    }

    /// Reads a header, and checks that it goes with `session`; `len` is that of the file.
    pub fn from_bytes(
        bytes: &[u8; HEADER],
        session: &Session,
        len: u64,
    ) -> Result<Self, SessionError> {
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
        let number =
            |what, found: u32, expected: u32| same(what, found.to_string(), expected.to_string());
        number("format", u32_at(12), FORMAT)?;
        number("version of the numeric contract", u32_at(16), CONTRACT)?;
        let options = session.context.options();
        number(
            "type of keys and values (as GGUF numbers them)",
            u32_at(20),
            options.kv.id(),
        )?;
        let model: [u8; 32] = bytes[24..56].try_into().expect("32 bytes");
        let (found, expected) = (Fingerprint::from(model), session.context.model().fingerprint());
        same("model", found.to_string(), expected.to_string())?;
        same(
            "sliding window",
            u64_at(56).to_string(),
            window(session).to_string(),
        )?;
        let [dropped, kept, read, earliest, state, notes] = [64, 72, 80, 88, 96, 104].map(u64_at);
        let header = Self {
            dropped,
            kept,
            read,
            earliest,
            state,
            notes,
        };
        header.check(session)?;
        let expected = header.file_len(&session.context.sequence().kv);
        match expected {
            Some(expected) if expected == len => Ok(header),
            _ => Err(SessionError::Length {
                found: len,
                expected: expected.unwrap_or(u64::MAX),
            }),
        }
    }

    fn check(&self, session: &Session) -> Result<(), SessionError> {
        let check = |good: bool, what, found, expected: String| match good {
            true => Ok(()),
            false => Err(SessionError::Unsound {
                what,
                found,
                expected,
            }),
        };
        let shape = session.context.sequence().shape();
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
        let check_earliest =
            |good, expected| check(good, "the earliest token", self.earliest, expected);
        check_earliest(self.earliest <= self.read, format!("at most {}", self.read))?;
        // A layer of which more were written than is ever kept.
        let more = |&layer: &usize| {
            let kept = shape.first_kept(layer, self.read as usize);
            shape.visible(layer, self.earliest as usize).start / CHUNK < kept
        };
        let layer = (0..shape.windows.len()).find(more);
        let expected = |layer| format!("one before which layer {layer} keeps what it sees");
        check_earliest(layer.is_none(), layer.map(expected).unwrap_or_default())
    }
}

/// What a file says of the windows: that of all layers, 0 for none, or where they differ a number
/// that stands for all of them.
pub(super) fn window(session: &Session) -> u64 {
    let windows = &session.context.sequence().shape().windows;
    let number = |window: &Option<usize>| window.map_or(0, |keys| keys as u64);
    if session.context.sequence().shape().is_uniform() {
        return windows.first().map_or(0, number);
    }
    let bytes: Vec<u8> = windows
        .iter()
        .flat_map(|window| number(window).to_le_bytes())
        .collect();
    let digest = Sha256::digest(&bytes);
    u64::from_le_bytes(digest[..8].try_into().expect("8 of 32 bytes")) | 1 << 63
}
