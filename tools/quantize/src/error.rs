//! What can go wrong, said so that a person can act on it.

use crate::types;
use bise_format::atomic::ClaimError;
use bise_format::checkpoint::CheckpointError;
use bise_format::foreign::Foreign;
use bise_format::gguf::GgufError;
use bise_format::llama::{LlamaError, TensorFaults};
use bise_kernels::block::DType;
use std::io;
use std::path::{Path, PathBuf};

/// Why a model cannot be quantized. No output file has been written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum QuantizeError {
    #[error("{}: {reason}", .path.display())]
    Io { path: PathBuf, reason: io::Error },

    #[error("{}: {reason}", .path.display())]
    Llama { path: PathBuf, reason: LlamaError },

    #[error("{}: {reason}", .path.display())]
    Gguf { path: PathBuf, reason: GgufError },

    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    #[error("{}: not valid JSON for its purpose: {reason}", .path.display())]
    Json {
        path: PathBuf,
        reason: serde_json::Error,
    },

    #[error("{}: {what}", .path.display())]
    Unsupported { path: PathBuf, what: String },

    /// Not what a model is in, and what to do about it.
    #[error("{}: {problem}\n{cure}", .path.display())]
    Misplaced {
        path: PathBuf,
        problem: String,
        cure: String,
    },

    /// Another kind of file.
    #[error("{}: {what}", .path.display())]
    Foreign { path: PathBuf, what: Foreign },

    #[error("{}: damaged safetensors header: {what}", .path.display())]
    Safetensors { path: PathBuf, what: String },

    #[error(
        "{}: truncated: {expected} bytes announced, {found} found\nthe download or copy is not complete: get the file again",
        .path.display()
    )]
    Truncated {
        path: PathBuf,
        expected: u64,
        found: u64,
    },

    #[error("{}: {faults}", .path.display())]
    Tensors { path: PathBuf, faults: TensorFaults },

    #[error("tensor `{tensor}`: the value in row {row}, column {column} is {value}")]
    NotFinite {
        tensor: String,
        row: u64,
        column: u64,
        value: f32,
    },

    #[error("tensor `{tensor}`: the value {value} in row {row}, column {column} is too large for {dtype}")]
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
    Pattern { pattern: String, closest: Vec<String> },

    #[error(
        "`{pattern}` names only norms, biases or routers, which are small and always F32; the closest matrices are {}",
        .closest.join(", ")
    )]
    NotQuantized { pattern: String, closest: Vec<String> },

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

    #[error("{} is a type that is only read; expected one of {}", .0, types::names())]
    ReadOnly(DType),

    #[error("threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),

    #[error(
        "`{0}` is no synthetic model; expected mistral-7b, mixtral-8x7b or mixtral-8x22b, a colon, and a type or recipe"
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
    DiskFull { path: PathBuf, needed: u64, free: u64 },

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
    pub(crate) fn io(path: &Path, reason: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            reason,
        }
    }

    pub(crate) fn gguf(path: &Path, reason: GgufError) -> Self {
        Self::Gguf {
            path: path.to_owned(),
            reason,
        }
    }

    pub(crate) fn llama(path: &Path, reason: LlamaError) -> Self {
        Self::Llama {
            path: path.to_owned(),
            reason,
        }
    }

    pub(crate) fn json(path: &Path, reason: serde_json::Error) -> Self {
        Self::Json {
            path: path.to_owned(),
            reason,
        }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    /// Of a `tokenizer.json` beside `other`, which would do without it.
    pub(crate) fn beside(self, other: &Path) -> Self {
        match self {
            Self::Unsupported { path, what } => {
                let name = other.file_name().unwrap_or_default().to_string_lossy();
                let what =
                    format!("{what}; if {name} beside it is the right tokenizer, move tokenizer.json away");
                Self::Unsupported { path, what }
            }
            other => other,
        }
    }

    pub(crate) fn misplaced(path: &Path, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Misplaced {
            path: path.to_owned(),
            problem: problem.into(),
            cure: cure.into(),
        }
    }

    /// Names the destination in errors that do not.
    pub(crate) fn at(self, dst: &Path) -> Self {
        match self {
            Self::Destination(reason) => Self::io(dst, reason),
            Self::Write(reason) => Self::gguf(dst, reason),
            Self::NoRoom { needed, free } => Self::DiskFull {
                path: dst.to_owned(),
                needed,
                free,
            },
            other => other,
        }
    }
}
