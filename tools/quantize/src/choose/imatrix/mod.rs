//! The importance matrix: how large the inputs of each matrix are on some text.
//!
//! A product `y = w x` errs by `sum over j of e[j] x[j]`, so on the average the squared error of
//! weight `j` counts as much as the mean of `x[j]^2`. A file holds, for each matrix and, in
//! mixtures, each expert:
//!
//! ```text
//! in_sum2[e][j] = sum of x[j]^2 over the tokens that expert e saw     counts[e] = how many they were
//! ```
//!
//! A router may send an expert few tokens or none. The mean over all experts then stands in, as if
//! each had seen it `PRIOR` times: `h[e][j] = (in_sum2[e][j] + PRIOR * mean[j]) / (counts[e] +
//! PRIOR)`.

mod gguf;
mod legacy;
mod matrix;

pub(crate) use matrix::Importance;
pub use matrix::{ImatrixEntry, ImportanceMatrix};

use crate::error::QuantizeError;
use bise_kernels::mmap::FileBytes;
use std::io::Write;
use std::path::Path;

impl ImportanceMatrix {
    /// Reads a file of llama.cpp's or of `bise imatrix`: GGUF, or the older format without a name.
    ///
    /// # Errors
    /// When it cannot be read or is damaged: lengths that do not match, numbers that are no sums of
    /// squares.
    pub fn read(path: &Path) -> Result<Self, QuantizeError> {
        let file = FileBytes::map(path).map_err(|e| QuantizeError::io(path, e))?;
        let read = if file.starts_with(b"GGUF") {
            gguf::parse(&file)
        } else {
            legacy::parse(&file)
        };
        let bad = |what| QuantizeError::unsupported(path, what);
        let matrix = read.map_err(bad)?;
        for (name, entry) in &matrix.entries {
            entry.check().map_err(|what| bad(format!("`{name}`: {what}")))?;
        }
        Ok(matrix)
    }

    /// Writes a GGUF file, as llama.cpp reads it.
    ///
    /// # Errors
    /// When a sum or a count is none, so that [`read`](Self::read) would refuse it, or writing
    /// fails. A file that was there stays.
    pub fn write(&self, path: &Path) -> Result<(), QuantizeError> {
        self.check(path)?;
        bise_format::atomic::write_atomic(path, |out| gguf::write(self, out))
            .map_err(|e| e.at(path))
    }

    /// [`write`](Self::write) to a stream.
    ///
    /// # Errors
    /// As [`write`](Self::write); the stream is called standard output.
    pub fn write_to(&self, out: impl Write) -> Result<(), QuantizeError> {
        let path = Path::new("standard output");
        self.check(path)?;
        gguf::write(self, out).map_err(|e| e.at(path))
    }
}

#[cfg(test)]
mod tests;
