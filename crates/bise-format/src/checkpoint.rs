//! A model's metadata and tensors, wherever they are stored: in one GGUF file, in several, or
//! elsewhere.
//!
//! Names and metadata are GGUF's. A model that is loaded from a [`Checkpoint`] need not know where
//! it came from.

use crate::TensorName;
use crate::gguf::{Gguf, GgufError, Metadata, PartName, Split};
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::Tensor;
use indexmap::IndexMap;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A model's metadata and tensors.
///
/// ```
/// use bise_format::checkpoint::Checkpoint;
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let checkpoint = Checkpoint::open(path.as_ref())?;
/// assert_eq!(checkpoint.metadata.u32("llama.block_count")?, Some(4));
/// // Shapes are the paper's: rows, columns.
/// assert_eq!(checkpoint.tensors["blk.0.ffn_down.weight"].shape(), [256, 512]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Checkpoint {
    /// Metadata, as a GGUF file of the model has them.
    pub metadata: Metadata,
    /// Tensors by GGUF's names.
    pub tensors: IndexMap<String, Tensor>,
    /// What they are stored in.
    pub container: Container,
    /// The names that tensors have in their files, of those that have another there.
    pub source_names: HashMap<String, String>,
}

impl Checkpoint {
    /// The tensor that `name` names.
    pub fn tensor(&self, name: TensorName) -> Option<&Tensor> {
        self.tensors.get(&name.to_string())
    }

    /// Whether the embeddings are the output matrix too, there being none of its own.
    pub fn output_is_tied(&self) -> bool {
        self.tensor(TensorName::Output).is_none()
    }

    /// The name that the tensor called `name` has in its file, for messages.
    pub fn source_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.source_names.get(name).map_or(name, String::as_str)
    }
}

/// What a model is stored in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Container {
    /// GGUF files.
    Gguf {
        /// Version of the format.
        version: u32,
        /// Files.
        parts: usize,
    },
    /// A directory of safetensors.
    Safetensors {
        /// Whose names and configuration it has.
        layout: &'static str,
        /// Files with tensors.
        parts: usize,
    },
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = match self {
            Self::Gguf { version, parts } => {
                write!(f, "GGUF version {version}")?;
                parts
            }
            Self::Safetensors { layout, parts } => {
                write!(f, "safetensors, {layout} layout")?;
                parts
            }
        };
        if *parts > 1 {
            write!(f, ", {parts} files")?;
        }
        Ok(())
    }
}

/// Why files do not make a model's metadata and tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what the fields are
pub enum CheckpointError {
    #[error("{}", .path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("{}", .path.display())]
    Gguf { path: PathBuf, source: GgufError },

    #[error("{}: part {} of a model in {count} files, which are found by names that end in `{suffix}` and the like", .path.display(), .number + 1)]
    PartName {
        path: PathBuf,
        number: u32,
        count: u32,
        suffix: String,
    },

    #[error("{}: part {} of {count} is missing", .path.display(), .number + 1)]
    MissingPart {
        path: PathBuf,
        number: u32,
        count: u32,
        source: io::Error,
    },

    #[error("{}: split.no is {found}, but {number} by the file's name", .path.display())]
    Number {
        path: PathBuf,
        found: String,
        number: u32,
    },

    #[error("{}: {what} is {found}, but {expected} in the first part", .path.display())]
    Disagree {
        path: PathBuf,
        what: String,
        found: String,
        expected: String,
    },

    #[error("{}: tensor `{tensor}` is in another part too", .path.display())]
    Twice { path: PathBuf, tensor: String },

    #[error("{}: the {count} parts have {found} tensors together, split.tensors.count is {expected}", .path.display())]
    TensorCount {
        path: PathBuf,
        count: u32,
        found: u64,
        expected: u64,
    },
}

impl Checkpoint {
    /// Maps the GGUF file at `path`, and the other files when it is one part of several, whichever.
    ///
    /// # Errors
    /// When a file is absent or not sound GGUF, or the parts do not belong together.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let first = Part::open(path)?;
        match first.split {
            None => Ok(Self::from_parts(vec![first])),
            Some(split) => Self::open_parts(first, split),
        }
    }

    /// Reads a GGUF file that is whole.
    ///
    /// # Errors
    /// When the bytes are not sound GGUF, or one part of several.
    pub fn from_bytes(file: FileBytes) -> Result<Self, GgufError> {
        let part = Part::parse(PathBuf::new(), file)?;
        match part.split {
            None => Ok(Self::from_parts(vec![part])),
            Some(split) => Err(GgufError::OutOfRange {
                key: "split.count".to_owned(),
                expected: "a file that is whole",
                found: split.count.to_string(),
            }),
        }
    }

    /// All parts of the model that `given` is one of.
    fn open_parts(given: Part, split: Split) -> Result<Self, CheckpointError> {
        let path = given.path.clone();
        let name = path
            .file_name()
            .and_then(|name| PartName::parse(name.to_str()?))
            .filter(|name| (name.number, name.count) == (split.number, split.count));
        let Some(name) = name else {
            return Err(CheckpointError::PartName {
                path: given.path,
                number: split.number,
                count: split.count,
                suffix: format!("-{:05}-of-{:05}.gguf", split.number + 1, split.count),
            });
        };
        let mut given = Some(given);
        let mut parts: Vec<Part> = Vec::new();
        for number in 0..split.count {
            let part = if number == split.number {
                given.take().expect("each number once")
            } else {
                Part::open_sibling(
                    &path.with_file_name(name.sibling(number).to_string()),
                    number,
                    split,
                )?
            };
            part.check(number, parts.first().unwrap_or(&part))?;
            parts.push(part);
        }
        refuse_twice(&parts)?;
        let found = parts.iter().map(|part| part.gguf.tensors.len() as u64).sum();
        match parts[0].split.and_then(|split| split.tensors) {
            Some(expected) if expected != found => Err(CheckpointError::TensorCount {
                path,
                count: split.count,
                found,
                expected,
            }),
            _ => Ok(Self::from_parts(parts)),
        }
    }

    /// Joins parts that have been checked; what speaks of the split is left out.
    fn from_parts(parts: Vec<Part>) -> Self {
        let container = Container::Gguf {
            version: parts[0].gguf.version,
            parts: parts.len(),
        };
        let (mut metadata, mut tensors) = (Metadata::new(), IndexMap::new());
        for Part { file, gguf, .. } in parts {
            for info in gguf.tensors.values() {
                tensors.insert(info.name.clone(), gguf.view(&file, info));
            }
            if metadata.is_empty() {
                metadata = gguf.metadata;
            } else {
                let more = gguf
                    .metadata
                    .iter()
                    .filter(|(key, _)| metadata.get(key).is_none());
                let more: Vec<_> = more.map(|(k, v)| (k.to_owned(), v.clone())).collect();
                for (key, value) in more {
                    metadata.insert(key, value);
                }
            }
        }
        metadata.retain(|key| !Split::is_key(key));
        Self {
            metadata,
            tensors,
            container,
            source_names: HashMap::new(),
        }
    }
}

fn refuse_twice(parts: &[Part]) -> Result<(), CheckpointError> {
    let mut seen = std::collections::HashSet::new();
    for part in parts {
        for name in part.gguf.tensors.keys() {
            if !seen.insert(name) {
                return Err(CheckpointError::Twice {
                    path: part.path.clone(),
                    tensor: name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// A GGUF file, alone or one of several.
struct Part {
    path: PathBuf,
    file: FileBytes,
    gguf: Gguf,
    split: Option<Split>,
}

impl Part {
    fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = FileBytes::map(path).map_err(|source| CheckpointError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path.to_owned(), file).map_err(|source| CheckpointError::Gguf {
            path: path.to_owned(),
            source,
        })
    }

    fn open_sibling(path: &Path, number: u32, split: Split) -> Result<Self, CheckpointError> {
        Self::open(path).map_err(|error| match error {
            CheckpointError::Io { path, source } => CheckpointError::MissingPart {
                path,
                number,
                count: split.count,
                source,
            },
            other => other,
        })
    }

    fn parse(path: PathBuf, file: FileBytes) -> Result<Self, GgufError> {
        let gguf = Gguf::parse(&file)?;
        let split = Split::from_metadata(&gguf.metadata)?;
        Ok(Self {
            path,
            file,
            gguf,
            split,
        })
    }

    /// Whether this is part `number` of the model that `first` begins.
    fn check(&self, number: u32, first: &Self) -> Result<(), CheckpointError> {
        let disagree = |what: String, found: String, expected: String| CheckpointError::Disagree {
            path: self.path.clone(),
            what,
            found,
            expected,
        };
        let say = |number: Option<u64>| number.map_or("absent".to_owned(), |n| n.to_string());
        let of = |part: &Self| {
            let split = part.split;
            let count = ("split.count", split.map(|split| u64::from(split.count)));
            [
                count,
                ("split.tensors.count", split.and_then(|split| split.tensors)),
            ]
        };
        for ((key, found), (_, expected)) in of(self).into_iter().zip(of(first)) {
            if found != expected {
                return Err(disagree(key.to_owned(), say(found), say(expected)));
            }
        }
        let found = self.split.map(|split| u64::from(split.number));
        if found != Some(u64::from(number)) {
            return Err(CheckpointError::Number {
                path: self.path.clone(),
                found: say(found),
                number,
            });
        }
        let own = |key: &str| Split::is_key(key) || key == crate::gguf::ALIGNMENT_KEY;
        for (key, value) in self.gguf.metadata.iter().filter(|(key, _)| !own(key)) {
            if let Some(expected) = first.gguf.metadata.get(key).filter(|first| *first != value) {
                return Err(disagree(
                    format!("metadata `{key}`"),
                    value.to_string(),
                    expected.to_string(),
                ));
            }
        }
        Ok(())
    }
}
