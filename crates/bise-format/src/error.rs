//! Why a model cannot be opened, said so that a person can act on it.

use crate::checkpoint::CheckpointError;
use crate::foreign::Foreign;
use crate::gguf::GgufError;
use crate::llama::{LlamaError, TensorFaults};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no model at a path, or none that can be read. [`full_text`] says all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum OpenError {
    #[error("{}", .path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("{}", .path.display())]
    Llama { path: PathBuf, source: LlamaError },

    #[error("{}", .path.display())]
    Gguf { path: PathBuf, source: GgufError },

    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    #[error("{}: not valid JSON for its purpose", .path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
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
    #[error("{}", .path.display())]
    Foreign { path: PathBuf, source: Foreign },

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
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn gguf(path: &Path, source: GgufError) -> Self {
        Self::Gguf {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn llama(path: &Path, source: LlamaError) -> Self {
        Self::Llama {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json {
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

    /// Of a `tokenizer.json` beside `other`, which would do without it.
    pub(crate) fn beside(self, other: &Path) -> Self {
        match self {
            Self::Unsupported { path, what } => {
                let name = other.file_name().unwrap_or_default().to_string_lossy();
                let what = format!(
                    "{what}; if {name} beside it is the right tokenizer, move tokenizer.json away"
                );
                Self::Unsupported { path, what }
            }
            other => other,
        }
    }

    pub(crate) fn misplaced(
        path: &Path,
        problem: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self::Misplaced {
            path: path.to_owned(),
            problem: problem.into(),
            cure: cure.into(),
        }
    }
}

/// What an error says, and after colons what each error beneath it says.
pub fn full_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut beneath = error.source();
    while let Some(error) = beneath {
        text = format!("{text}: {error}");
        beneath = error.source();
    }
    text
}
