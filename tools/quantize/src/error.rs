//! What can go wrong, said so that a person can act on it.

use crate::choose::writable;
use bise_format::OpenError;
use bise_format::adapter::AdapterError;
use bise_format::atomic::ClaimError;
use bise_format::gguf::GgufError;
use bise_format::llama::LlamaError;
use bise_kernels::block::DType;
use bise_model::LoadError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a text names no type, size or pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionError(pub(crate) String);

/// Why a model cannot be quantized. No output file has been written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum QuantizeError {
    #[error("{}", .path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("{}", .path.display())]
    Gguf { path: PathBuf, source: GgufError },

    #[error("{}", .path.display())]
    Model { path: PathBuf, source: LlamaError },

    #[error(transparent)]
    Open(#[from] OpenError),

    #[error(transparent)]
    Adapter(#[from] AdapterError),

    /// Of a source whose dimensions cannot be told.
    #[error(transparent)]
    Load(#[from] LoadError),

    #[error("{}: {what}", .path.display())]
    Unsupported { path: PathBuf, what: String },

    #[error("tensor `{tensor}`: the value in row {row}, column {column} is {value}")]
    NotFinite {
        tensor: String,
        row: u64,
        column: u64,
        value: f32,
    },

    #[error(
        "tensor `{tensor}`: the value {value} in row {row}, column {column} is too large for {dtype}"
    )]
    TooLarge {
        tensor: String,
        row: u64,
        column: u64,
        value: f32,
        dtype: DType,
    },

    #[error(transparent)]
    Claim(#[from] ClaimError),

    #[error("no matrix is named like `{pattern}`; the closest names are {}", .closest.join(", "))]
    Pattern {
        pattern: String,
        closest: Vec<String>,
    },

    #[error(
        "`{pattern}` names only norms, biases or routers, which are small and always F32; the closest matrices are {}",
        .closest.join(", ")
    )]
    NotQuantized {
        pattern: String,
        closest: Vec<String>,
    },

    #[error("{}: `{tensor}`: {what}", .path.display())]
    Imatrix {
        path: PathBuf,
        tensor: String,
        what: String,
    },

    #[error("{asked} is out of reach: this model takes from {least} to {most}")]
    Size {
        asked: String,
        least: String,
        most: String,
    },

    #[error("{} is a type that is only read; expected one of {}", .0, writable::names())]
    ReadOnly(DType),

    #[error("threads cannot be started")]
    Threads(#[from] rayon::ThreadPoolBuildError),

    #[error(
        "`{0}` is no synthetic model; expected mistral-7b, mixtral-8x7b, mixtral-8x22b, ministral-8b, mistral-small-24b, ministral-3-3b, ministral-3-8b or ministral-3-14b, a colon, and a type or recipe"
    )]
    Synthetic(String),

    #[error(
        "{}: tensor '{tensor}' is {from} already, and quantized again, to {to}, it loses more than the original would: \
         take the unquantized model, or --allow-requantize",
        path.display()
    )]
    Requantize {
        path: PathBuf,
        tensor: String,
        from: DType,
        to: DType,
    },

    #[error("stopped; the same command goes on from here")]
    Stopped,

    /// Of the destination, before its name is known: never returned.
    #[doc(hidden)]
    #[error("{needed} bytes are needed, {free} are free")]
    NoRoom { needed: u64, free: u64 },

    #[error("{}: the disk is full: {needed} more bytes are needed, {free} are free", .path.display())]
    DiskFull {
        path: PathBuf,
        needed: u64,
        free: u64,
    },

    /// Of the destination, before its name is known: never returned.
    #[doc(hidden)]
    #[error(transparent)]
    Destination(#[from] io::Error),

    /// Of the destination, before its name is known: never returned.
    #[doc(hidden)]
    #[error(transparent)]
    Write(#[from] GgufError),
}

impl QuantizeError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn model(path: &Path, source: LlamaError) -> Self {
        let path = path.to_owned();
        Self::Model { path, source }
    }

    pub(crate) fn gguf(path: &Path, source: GgufError) -> Self {
        Self::Gguf {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    /// Names the destination in errors that do not.
    pub(crate) fn at(self, dst: &Path) -> Self {
        match self {
            Self::Destination(source) => Self::io(dst, source),
            Self::Write(source) => Self::gguf(dst, source),
            Self::NoRoom { needed, free } => Self::DiskFull {
                path: dst.to_owned(),
                needed,
                free,
            },
            other => other,
        }
    }
}
