//! Safetensors shards: one file, or many by an index.
//!
//! ```text
//! | n: u64 | header: n bytes of JSON, name -> dtype, shape, data_offsets | data, without gaps |
//! ```

use super::read_json;
use crate::error::{QuantizeError, TensorFaults};
use bise_tensor::mmap::FileBytes;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const MAX_HEADER: u64 = 100_000_000;

/// All tensors of a directory, by name.
pub(crate) struct Shards(BTreeMap<String, Stored>);

/// A tensor in a shard.
pub(crate) struct Stored {
    pub file: FileBytes,
    pub range: Range<usize>,
    pub dtype: Dtype,
    /// The slowest dimension first.
    pub shape: Vec<u64>,
}

#[derive(Deserialize)]
struct Index {
    /// From tensors to shards.
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    pub(crate) fn open(directory: &Path) -> Result<Self, QuantizeError> {
        let mut shards = Self(BTreeMap::new());
        let Some(index) = read_json::<Index>(&directory.join(INDEX))? else {
            if !directory.join(SINGLE).exists() {
                let what = format!("neither {SINGLE} nor {INDEX} is there");
                return Err(QuantizeError::unsupported(directory, what));
            }
            shards.add(directory, SINGLE)?;
            return Ok(shards);
        };
        let files: BTreeSet<&String> = index.weight_map.values().collect();
        for file in files {
            if !is_plain(file) {
                let what = format!("`{file}` is not the name of a file in this directory");
                return Err(QuantizeError::unsupported(&directory.join(INDEX), what));
            }
            shards.add(directory, file)?;
        }
        let absent = index
            .weight_map
            .iter()
            .filter(|(name, _)| !shards.0.contains_key(*name));
        let missing: Vec<_> = absent.map(|(name, file)| format!("{name} (of {file})")).collect();
        if missing.is_empty() {
            Ok(shards)
        } else {
            let faults = TensorFaults {
                missing,
                ..TensorFaults::default()
            };
            Err(QuantizeError::Tensors {
                path: directory.join(INDEX),
                faults,
            })
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Stored> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn add(&mut self, directory: &Path, name: &str) -> Result<(), QuantizeError> {
        let path = directory.join(name);
        let file = FileBytes::map(&path).map_err(|e| QuantizeError::io(&path, e))?;
        let (header, data_offset) = header(&path, &file)?;
        for (name, info) in header.tensors() {
            let (start, end) = info.data_offsets;
            let stored = Stored {
                file: file.clone(),
                range: data_offset + start..data_offset + end,
                dtype: info.dtype,
                shape: info.shape.iter().map(|&d| d as u64).collect(),
            };
            if self.0.insert(name.clone(), stored).is_some() {
                let what = format!("tensor {name} is in another shard too");
                return Err(QuantizeError::Safetensors { path, what });
            }
        }
        Ok(())
    }
}

fn is_plain(file: &str) -> bool {
    let mut components = Path::new(file).components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    )
}

/// The header, whose ranges are within the file, and where the data starts.
fn header(path: &Path, file: &[u8]) -> Result<(Metadata, usize), QuantizeError> {
    let truncated = |expected| QuantizeError::Truncated {
        path: path.to_owned(),
        expected,
        found: file.len() as u64,
    };
    let damaged = |what: String| QuantizeError::Safetensors {
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
