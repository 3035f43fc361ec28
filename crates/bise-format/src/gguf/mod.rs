//! Reading and writing GGUF files: bytes in, views out.
//!
//! ```text
//! | "GGUF" | version: u32 | tensors: n | entries: n |     n: u32 in version 1, u64 since
//! | entries x ( key: string | type: u32 | value )     |     string: length n, then UTF-8
//! | tensors x ( name: string | dims: u32 | dims x n   |     array: type u32, length n, then elements
//! |             | type: u32 | offset: u64 )           |     fastest dimension first
//! | zeros up to a multiple of the alignment           |     general.alignment, else 32
//! | tensor data, each at its offset from here         |
//! ```
//!
//! Every number of a file is checked before it is used: [`Gguf::parse`] returns an error, never
//! panics, and allocates no more than four times the file's size, and 64 KiB.

mod error;
mod header;
mod limits;
mod reader;
mod sizes;
mod split;
mod value;
mod writer;

pub use error::{GgufError, Place};
pub use header::{Gguf, TensorInfo};
pub use limits::ALIGNMENT_KEY;
pub use split::{PartName, Split};
pub use value::{Array, Metadata, Value, ValueType};
pub use writer::{GgufWriter, Layout, TensorSpec};
