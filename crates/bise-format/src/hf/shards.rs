//! Safetensors: the tensors of one file, or of several.
//!
//! ```text
//! | n: u64 | header: n bytes of JSON, name -> dtype, shape, data_offsets | data, without gaps |
//! ```

use super::files::{Files, Index};
use crate::error::OpenError;
use crate::foreign::Foreign;
use crate::llama::TensorFaults;
use crate::small_file::bounded;
use bise_kernels::block::DType;
use bise_kernels::mmap::FileBytes;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

const MAX_HEADER: u64 = 100_000_000;

/// All tensors of a directory, by name.
pub(crate) struct Shards {
    tensors: BTreeMap<String, Stored>,
    files: usize,
}

/// A tensor in a shard.
pub(crate) struct Stored {
    pub file: FileBytes,
    pub range: Range<usize>,
    pub dtype: Dtype,
    /// The slowest dimension first.
    pub shape: Vec<u64>,
}

impl Stored {
    /// The type of single values of the same name, with scales or without.
    pub(crate) fn value_type(&self) -> Option<DType> {
        DType::from_name(&self.dtype.to_string()).filter(|dtype| !dtype.is_quantized())
    }

    /// The type, if it is F32, F16 or BF16.
    pub(crate) fn plain_type(&self) -> Option<DType> {
        self.value_type().filter(|dtype| !dtype.is_scaled())
    }
}

impl Shards {
    /// No tensors, of a model that is only described.
    pub(crate) fn none() -> Self {
        Self {
            tensors: BTreeMap::new(),
            files: 0,
        }
    }

    /// Opens the files with the weights that `directory` holds under `stem`; see
    /// [`files`](super::files).
    pub(crate) fn open(
        directory: &Path,
        stem: &str,
        notes: &mut Vec<String>,
    ) -> Result<Self, OpenError> {
        let mut shards = Self::none();
        let Files { names, index, note } = Files::find(directory, stem)?;
        notes.extend(note);
        for file in &names {
            shards.add(directory, file)?;
        }
        if let Some((name, index)) = index {
            shards.check_index(&directory.join(name), &index)?;
        }
        Ok(shards)
    }

    /// Whether each tensor that the index at `path` names is there.
    fn check_index(&self, path: &Path, index: &Index) -> Result<(), OpenError> {
        let absent = index
            .weight_map
            .iter()
            .filter(|(name, _)| !self.tensors.contains_key(*name));
        let missing: Vec<_> = absent.map(|(name, file)| format!("{name} (of {file})")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let faults = TensorFaults {
            missing,
            ..TensorFaults::default()
        };
        Err(OpenError::Tensors {
            path: path.to_owned(),
            faults,
        })
    }

    /// Whether two tensors are both there and are not the same. Those of eight bits may have
    /// different scales, and count as different.
    pub(crate) fn differ(&self, one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (self.get(one), self.get(other)) else {
            return false;
        };
        let same_kind = (one.dtype, &one.shape) == (other.dtype, &other.shape);
        let has_scales = one.dtype.bitsize() == 8;
        !same_kind || has_scales || one.file[one.range.clone()] != other.file[other.range.clone()]
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// How many files they are in.
    pub(crate) fn files(&self) -> usize {
        self.files
    }

    fn add(&mut self, directory: &Path, name: &str) -> Result<(), OpenError> {
        let path = directory.join(name);
        let file = FileBytes::map(&path).map_err(|e| OpenError::io(&path, e))?;
        refuse_foreign(&path, &file)?;
        let (header, data_offset) = header(&path, &file)?;
        self.files += 1;
        for (name, info) in header.tensors() {
            let (start, end) = info.data_offsets;
            let stored = Stored {
                file: file.clone(),
                range: data_offset + start..data_offset + end,
                dtype: info.dtype,
                shape: info.shape.iter().map(|&d| d as u64).collect(),
            };
            if self.tensors.insert(name.clone(), stored).is_some() {
                let what = format!("tensor {name} is in another shard too");
                return Err(OpenError::Safetensors { path, what });
            }
        }
        Ok(())
    }
}

/// Refuses files that are not safetensors at all.
fn refuse_foreign(path: &Path, file: &[u8]) -> Result<(), OpenError> {
    match Foreign::of(file) {
        None | Some(Foreign::Safetensors) => Ok(()),
        Some(source) => Err(OpenError::Foreign {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The header, whose ranges are within the file, and where the data starts.
pub(crate) fn header(path: &Path, file: &[u8]) -> Result<(Metadata, usize), OpenError> {
    let truncated = |expected| OpenError::Truncated {
        path: path.to_owned(),
        expected,
        found: file.len() as u64,
    };
    let damaged = |what: String| OpenError::Safetensors {
        path: path.to_owned(),
        what,
    };
    let Some((len, rest)) = file.split_first_chunk::<8>() else {
        return Err(truncated(8));
    };
    let len = u64::from_le_bytes(*len);
    if len > MAX_HEADER {
        return Err(damaged(format!(
            "it is {len} bytes long, at most {MAX_HEADER} are allowed"
        )));
    }
    let Some(json) = rest.get(..len as usize) else {
        return Err(truncated(8 + len));
    };
    bounded(json, file.len()).map_err(damaged)?;
    let header: Metadata = serde_json::from_slice(json).map_err(|e| damaged(e.to_string()))?;
    let data_offset = 8 + len as usize;
    let expected = (header.data_len() as u64).saturating_add(data_offset as u64);
    match expected.cmp(&(file.len() as u64)) {
        std::cmp::Ordering::Greater => Err(truncated(expected)),
        std::cmp::Ordering::Less => Err(damaged(format!(
            "it describes {expected} bytes of a file of {}",
            file.len()
        ))),
        std::cmp::Ordering::Equal => Ok((header, data_offset)),
    }
}
