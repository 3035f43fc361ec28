//! What can be wrong with a GGUF file, said so that a person can act on it.

use super::limits::MEMORY;
use crate::foreign::Foreign;
use bise_kernels::block::DType;
use std::fmt;

/// Why a GGUF file cannot be read or written.
///
/// Offsets are bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum GgufError {
    #[error("not a GGUF file: it starts with bytes {found:02x?} instead of \"GGUF\"")]
    Magic { found: Vec<u8> },

    #[error(transparent)]
    Foreign(#[from] Foreign),

    #[error("GGUF version {found} is not known; versions 1, 2 and 3 are")]
    Version { found: u32 },

    #[error(
        "{place}: the file ends too soon: {needed} bytes needed at byte {offset}, {left} left\n\
         the download or copy is not complete: get the file again"
    )]
    Truncated {
        place: Place,
        offset: u64,
        needed: u64,
        left: u64,
    },

    #[error("{place}: {what} at byte {offset} is {found}, expected {expected}")]
    Invalid {
        place: Place,
        what: &'static str,
        offset: u64,
        found: Box<str>,
        expected: Box<str>,
    },

    #[error("{place}: text at byte {offset} is not UTF-8")]
    Utf8 { place: Place, offset: u64 },

    #[error(
        "{place}: the header up to byte {offset} would take more memory than {} times the file",
        MEMORY
    )]
    Memory { place: Place, offset: u64 },

    #[error("{place}: the name occurs twice (again at byte {offset})")]
    Duplicate { place: Place, offset: u64 },

    #[error("{place}: type {id}{} at byte {offset} is not one that this program reads", known(*.id))]
    TensorType { place: Place, id: u32, offset: u64 },

    #[error("{place}: rows of {columns} values are not whole {dtype} blocks of {}", .dtype.block_len())]
    PartialBlock {
        place: Place,
        columns: u64,
        dtype: DType,
    },

    #[error("tensor `{tensor}` is {dtype}, a type that no GGUF file holds")]
    NotOfGguf { tensor: String, dtype: DType },

    #[error("tensors `{first}` and `{second}` overlap at byte {offset}")]
    Overlap {
        first: String,
        second: String,
        offset: u64,
    },

    #[error("metadata `{key}` is {found}, expected {expected}")]
    WrongType {
        key: String,
        expected: &'static str,
        found: String,
    },

    #[error("metadata `{key}` is {found}, which does not fit in {expected}")]
    OutOfRange {
        key: String,
        expected: &'static str,
        found: String,
    },

    #[error("metadata `{key}` differs between layers, {found}, which is not supported")]
    Layers { key: String, found: String },

    #[error(
        "{bytes} bytes at byte {offset}, before tensor `{tensor}`, belong to nothing: more than alignment explains"
    )]
    Gap {
        tensor: String,
        offset: u64,
        bytes: u64,
    },

    #[error("{bytes} bytes follow the last tensor, at byte {offset}: more than alignment explains")]
    Trailing { offset: u64, bytes: u64 },

    #[error("metadata `{key}` is missing")]
    MissingKey { key: String },

    #[error("tensor `{found}` written where `{expected}` is due")]
    TensorOrder { expected: String, found: String },

    #[error("tensor `{tensor}` is {found} bytes long, expected {expected}")]
    TensorLength {
        tensor: String,
        expected: u64,
        found: u64,
    },

    #[error("{count} tensors were announced but not written, the first is `{first}`")]
    MissingTensors { count: usize, first: String },

    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The part of a GGUF file that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Magic, version and counts.
    Header,
    /// The metadata entry of this number, before its key is known.
    Entry(u64),
    /// The metadata value with this key.
    Key(String),
    /// The tensor of this number, before its name is known.
    TensorEntry(u64),
    /// The tensor with this name.
    Tensor(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header => f.write_str("header"),
            Place::Entry(n) => write!(f, "metadata entry {n}"),
            Place::Key(key) => write!(f, "metadata `{key}`"),
            Place::TensorEntry(n) => write!(f, "tensor entry {n}"),
            Place::Tensor(name) => write!(f, "tensor `{name}`"),
        }
    }
}

/// ` (NAME)` for types that GGML has or had and [`DType`] lacks.
fn known(id: u32) -> String {
    const NAMES: [(u32, &str); 15] = [
        (4, "Q4_2, removed from GGML"),
        (5, "Q4_3, removed from GGML"),
        (9, "Q8_1"),
        (15, "Q8_K"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (31, "Q4_0_4_4, removed from GGML"),
        (32, "Q4_0_4_8, removed from GGML"),
        (33, "Q4_0_8_8, removed from GGML"),
        (36, "IQ4_NL_4_4, removed from GGML"),
        (37, "IQ4_NL_4_8, removed from GGML"),
        (38, "IQ4_NL_8_8, removed from GGML"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| *known == id)
        .map_or(String::new(), |(_, name)| format!(" ({name})"))
}
