//! The format of before GGUF, little-endian and without a magic number.
//!
//! ```text
//! entries: i32 | entries x ( length: i32 | name | calls: i32 | values: i32 | values x f32 )
//!             | chunks: i32 | length: i32 | dataset                      the last line may be absent
//! ```
//!
//! A value is the mean square of an input, times `calls`; all experts of a mixture are one entry.

use super::matrix::{ImatrixEntry, ImportanceMatrix};

/// No file has more entries, longer names or longer rows; a larger number says that this is another
/// format.
const MOST: u32 = 1 << 28;

/// Bytes that entries have on the average at least, unless there are few: memory stays in
/// proportion to the file.
const LEAST: usize = 128;
const FEW: usize = 512;

struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], String> {
        let left = self.file.len() - self.at;
        if len > left {
            let at = self.at;
            return Err(format!(
                "truncated: {what} at offset {at} takes {len} bytes, {left} are left"
            ));
        }
        self.at += len;
        Ok(&self.file[self.at - len..self.at])
    }

    /// An i32 that counts something.
    fn count(&mut self, what: &str) -> Result<u32, String> {
        let bytes = *self.take(4, what)?.as_array().expect("4 bytes");
        let found = i32::from_le_bytes(bytes);
        let at = self.at - 4;
        u32::try_from(found).ok().filter(|&n| n <= MOST).ok_or_else(|| {
            format!(
                "{what} at offset {at} is {found}: neither GGUF nor the older format of importance matrices"
            )
        })
    }

    fn name(&mut self, what: &str) -> Result<String, String> {
        let len = self.count(what)? as usize;
        let text = std::str::from_utf8(self.take(len, what)?);
        text.map(str::to_owned)
            .map_err(|_| format!("{what} at offset {} is not UTF-8", self.at - len))
    }
}

pub(super) fn parse(file: &[u8]) -> Result<ImportanceMatrix, String> {
    let mut cursor = Cursor { file, at: 0 };
    let mut matrix = ImportanceMatrix::default();
    let entries = cursor.count("the number of entries")?;
    if entries as usize > file.len() / LEAST + FEW {
        let len = file.len();
        return Err(format!(
            "{entries} entries in {len} bytes: neither GGUF nor the older format of importance matrices"
        ));
    }
    for n in 0..entries {
        let name = cursor.name(&format!("the name of entry {n}"))?;
        let calls = cursor.count(&format!("the calls of `{name}`"))?;
        let len = cursor.count(&format!("the number of values of `{name}`"))? as usize;
        let bytes = cursor.take(4 * len, &format!("the values of `{name}`"))?;
        let sums = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&word| f32::from_le_bytes(word));
        let entry = ImatrixEntry {
            sums: sums.collect(),
            counts: vec![calls.max(1) as f32],
        };
        if matrix.get(&name).is_some() {
            return Err(format!("`{name}` is there twice"));
        }
        matrix.insert(name, entry);
    }
    if matrix.is_empty() {
        return Err("no entries".to_owned());
    }
    if cursor.at < file.len() {
        matrix.chunk_count = cursor.count("the number of chunks")?;
        if cursor.at < file.len() {
            matrix.datasets.push(cursor.name("the dataset")?);
        }
    }
    Ok(matrix)
}
