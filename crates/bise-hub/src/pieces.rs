//! Which pieces of a file have come, on disk: so that the next call goes on, however the last one
//! ended.
//!
//! ```text
//! u64 size, u64 PIECE      of the file that is fetched
//! u64, u64, ..             numbers of pieces that are on the disk, in any order
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

/// Bytes of a piece: what is lost at most, for each connection, when the program is stopped.
pub(crate) const PIECE: u64 = 1 << 20;

/// The pieces of a file.
pub(crate) struct Pieces {
    size: u64,
    done: Vec<bool>,
    record: File,
}

impl Pieces {
    /// Reads the record at `path` of a file of `size` bytes, or begins one.
    pub fn open(path: &Path, size: u64) -> io::Result<Self> {
        let count = usize::try_from(size.div_ceil(PIECE)).map_err(io::Error::other)?;
        let mut record = File::options().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        let most = 16 + 8 * (2 * count as u64 + 64);
        Read::by_ref(&mut record).take(most).read_to_end(&mut bytes)?;
        let mut numbers = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        let mut done = vec![false; count];
        if (numbers.next(), numbers.next()) == (Some(size), Some(PIECE)) {
            for number in numbers {
                if let Some(done) = done.get_mut(number as usize) {
                    *done = true;
                }
            }
        } else {
            record.set_len(0)?;
            record.write_all(&[size.to_le_bytes(), PIECE.to_le_bytes()].concat())?;
        }
        // What a kill cut off would shift all that follows.
        let whole = bytes.len() / 8 * 8;
        if whole < bytes.len() {
            record.set_len(whole as u64)?;
        }
        Ok(Self { size, done, record })
    }

    /// Numbers of the pieces that are missing.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.done.len()).filter(|&i| !self.done[i]).collect()
    }

    /// The bytes of a piece.
    pub fn range(size: u64, piece: usize) -> Range<u64> {
        let start = piece as u64 * PIECE;
        start..(start + PIECE).min(size)
    }

    /// Bytes of the pieces that are there.
    pub fn bytes(&self) -> u64 {
        let of = |i: usize| Self::range(self.size, i);
        let done = (0..self.done.len()).filter(|&i| self.done[i]);
        done.map(|i| of(i).end - of(i).start).sum()
    }

    /// Says that a piece is on the disk.
    pub fn mark(&mut self, piece: usize) -> io::Result<()> {
        self.done[piece] = true;
        self.record.write_all(&(piece as u64).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_and_is_begun_anew_for_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pieces");
        let size = 3 * PIECE + 5;
        let mut pieces = Pieces::open(&path, size).unwrap();
        assert_eq!(pieces.missing(), [0, 1, 2, 3]);
        pieces.mark(3).unwrap();
        pieces.mark(1).unwrap();
        assert_eq!(pieces.bytes(), PIECE + 5);
        drop(pieces);
        // A kill in the middle of a number.
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&[0; 3])
            .unwrap();
        let mut pieces = Pieces::open(&path, size).unwrap();
        assert_eq!(pieces.missing(), [0, 2]);
        pieces.mark(0).unwrap();
        drop(pieces);
        assert_eq!(Pieces::open(&path, size).unwrap().missing(), [2]);
        assert_eq!(Pieces::open(&path, size + 1).unwrap().missing(), [0, 1, 2, 3]);
    }
}
