//! Safetensors shards: one file, or many by an index.
//!
//! ```text
//! | n: u64 | header: n bytes of JSON, name -> dtype, shape, data_offsets | data, without gaps |
//! ```

use super::read_bounded_json;
use crate::error::{QuantizeError, TensorFaults};
use bise_tensor::mmap::FileBytes;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path};

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

#[derive(Deserialize)]
struct Index {
    /// From tensors to shards.
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// Opens `STEM.safetensors.index.json` and the files that it names, or `STEM.safetensors`, or all of
    /// `STEM.00.safetensors`, `STEM.01.safetensors` and so on.
    pub(crate) fn open(directory: &Path, stem: &str) -> Result<Self, QuantizeError> {
        let mut shards = Self {
            tensors: BTreeMap::new(),
            files: 0,
        };
        let (single, index) = (
            format!("{stem}.safetensors"),
            format!("{stem}.safetensors.index.json"),
        );
        if let Some(found) = read_bounded_json::<Index>(&directory.join(&index))? {
            shards.add_indexed(directory, &index, &found)?;
            return Ok(shards);
        }
        let files = match directory.join(&single).exists() {
            true => vec![single.clone()],
            false => numbered(directory, stem)?,
        };
        if files.is_empty() {
            let pickles = numbered_with(directory, stem, &["pt", "pth"])?;
            let hint = pickles.first().map_or(String::new(), |file| {
                format!("; {file} is a PyTorch pickle, which has to be converted to safetensors")
            });
            let what = format!("neither {single} nor {index} is there{hint}");
            return Err(QuantizeError::unsupported(directory, what));
        }
        for file in files {
            shards.add(directory, &file)?;
        }
        Ok(shards)
    }

    fn add_indexed(&mut self, directory: &Path, name: &str, index: &Index) -> Result<(), QuantizeError> {
        let files: BTreeSet<&String> = index.weight_map.values().collect();
        for file in files {
            if !is_plain(file) {
                let what = format!("`{file}` is not the name of a file in this directory");
                return Err(QuantizeError::unsupported(&directory.join(name), what));
            }
            self.add(directory, file)?;
        }
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
        Err(QuantizeError::Tensors {
            path: directory.join(name),
            faults,
        })
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

    fn add(&mut self, directory: &Path, name: &str) -> Result<(), QuantizeError> {
        let path = directory.join(name);
        let file = FileBytes::map(&path).map_err(|e| QuantizeError::io(&path, e))?;
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
                return Err(QuantizeError::Safetensors { path, what });
            }
        }
        Ok(())
    }
}

/// The files `STEM.00.safetensors` and so on, in order; there must be no gap.
fn numbered(directory: &Path, stem: &str) -> Result<Vec<String>, QuantizeError> {
    let files = numbered_with(directory, stem, &["safetensors"])?;
    for (i, file) in files.iter().enumerate() {
        let expected = format!("{stem}.{i:02}.safetensors");
        if *file != expected {
            return Err(QuantizeError::io(
                &directory.join(expected),
                std::io::ErrorKind::NotFound.into(),
            ));
        }
    }
    Ok(files)
}

/// The names `STEM.DIGITS.EXTENSION` in a directory, in order of their numbers.
fn numbered_with(directory: &Path, stem: &str, extensions: &[&str]) -> Result<Vec<String>, QuantizeError> {
    let entries = std::fs::read_dir(directory).map_err(|e| QuantizeError::io(directory, e))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| QuantizeError::io(directory, e))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.'));
        let Some((number, extension)) = rest.and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        if let (true, Ok(number)) = (digits && extensions.contains(&extension), number.parse::<u32>()) {
            found.push((number, name));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

fn is_plain(file: &str) -> bool {
    let mut components = Path::new(file).components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    )
}

/// Refuses JSON that takes much more memory than `file_len` bytes: what describes real weights has long names and few values
/// beside them.
pub(crate) fn bounded(json: &[u8], file_len: usize) -> Result<(), String> {
    const SPARE: usize = 128 << 10;
    // What the parsers take for an object and for any value, with room for growth.
    const OBJECT: usize = 640;
    const VALUE: usize = 96;
    let cost = |byte: &u8| match byte {
        b'{' => OBJECT,
        b',' | b'[' | b':' => VALUE,
        _ => 0,
    };
    let cost: usize = json.iter().map(cost).sum();
    if cost > 3 * file_len + SPARE {
        return Err(format!("it has too many entries for {file_len} bytes"));
    }
    Ok(())
}

/// The header, whose ranges are within the file, and where the data starts.
pub(crate) fn header(path: &Path, file: &[u8]) -> Result<(Metadata, usize), QuantizeError> {
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
