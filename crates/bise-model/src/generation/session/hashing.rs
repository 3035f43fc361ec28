//! Readers and writers that hash what goes through them.

use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// Bytes of a SHA-256.
pub(super) const HASH: usize = 32;

/// The SHA-256 of what has gone through, and how much it was.
pub(super) struct Hashing<T> {
    inner: T,
    hasher: Sha256,
    pub bytes: u64,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    pub fn hash(&self) -> [u8; HASH] {
        self.hasher.clone().finalize().into()
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
