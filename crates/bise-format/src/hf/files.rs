//! Which files of a directory hold the weights. The first of these counts, as with transformers:
//!
//! ```text
//! STEM.safetensors                       one file, whatever an index beside it says
//! STEM.safetensors.index.json            and the files that it names
//! STEM-00001-of-00003.safetensors, ..    without an index: all of the numbers
//! STEM.00.safetensors, ..                without a gap
//! ```

use crate::error::OpenError;
use crate::locate::UNFINISHED;
use crate::small_file::read_bounded_json;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// An index of shards.
#[derive(Deserialize)]
pub(crate) struct Index {
    /// From tensors to shards.
    pub weight_map: BTreeMap<String, String>,
}

/// The files with the weights, all of which are there.
pub(crate) struct Files {
    pub names: Vec<String>,
    /// The index that names them, and its own name.
    pub index: Option<(String, Index)>,
    /// What the user should know.
    pub note: Option<String>,
}

impl Files {
    /// Finds the files called by `stem`.
    pub(crate) fn find(directory: &Path, stem: &str) -> Result<Self, OpenError> {
        let single = format!("{stem}.safetensors");
        let index = format!("{single}.index.json");
        let there = |name: &str| directory.join(name).exists();
        if there(&single) {
            let note = format!(
                "{single} counts: {index} beside it is left over from another form of the weights"
            );
            return Ok(Self {
                names: vec![single],
                index: None,
                note: there(&index).then_some(note),
            });
        }
        if let Some(found) = read_bounded_json::<Index>(&directory.join(&index))? {
            return Self::indexed(directory, index, found);
        }
        let names = match shards(directory, stem)? {
            names if names.is_empty() => numbered(directory, stem)?,
            names => names,
        };
        if names.is_empty() {
            let what = format!("neither {single} nor {index} is there");
            return Err(absent(directory, &single)
                .unwrap_or_else(|| OpenError::unsupported(directory, what)));
        }
        Ok(Self {
            names,
            index: None,
            note: None,
        })
    }

    fn indexed(directory: &Path, name: String, index: Index) -> Result<Self, OpenError> {
        let files: BTreeSet<&String> = index.weight_map.values().collect();
        for file in &files {
            if !is_plain(file) {
                let what = format!("`{file}` is not the name of a file in this directory");
                return Err(OpenError::unsupported(&directory.join(name), what));
            }
            if !directory.join(file).exists() {
                return Err(missing(directory, file, &format!("{name} names it")));
            }
        }
        Ok(Self {
            names: files.into_iter().cloned().collect(),
            index: Some((name, index)),
            note: None,
        })
    }

    /// Whether `directory` has files called by `stem`, complete or not.
    pub(crate) fn are_there(directory: &Path, stem: &str) -> bool {
        let starts = [format!("{stem}.safetensors"), format!("{stem}-")];
        let names = names(directory).unwrap_or_default();
        names.iter().any(|name| {
            name.contains(".safetensors") && starts.iter().any(|start| name.starts_with(start))
        })
    }
}

fn names(directory: &Path) -> Result<Vec<String>, OpenError> {
    let io = |e| OpenError::io(directory, e);
    let entries = std::fs::read_dir(directory).map_err(io)?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(io)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The files `STEM-00001-of-00003.safetensors` and so on, all of them.
fn shards(directory: &Path, stem: &str) -> Result<Vec<String>, OpenError> {
    let names = names(directory)?;
    let number = |name: &str| -> Option<(u32, u32)> {
        let rest = name.strip_prefix(stem)?.strip_prefix('-')?;
        let (number, count) = rest.strip_suffix(".safetensors")?.split_once("-of-")?;
        Some((number.parse().ok()?, count.parse().ok()?))
    };
    let found: Vec<_> = names
        .iter()
        .filter_map(|name| number(name).map(|n| (n, name)))
        .collect();
    let Some(&((_, count), first)) = found.first() else {
        return Ok(Vec::new());
    };
    if let Some((_, other)) = found.iter().find(|((_, other), _)| *other != count) {
        let what =
            format!("{first} and {other} are of different models, and no index tells which counts");
        return Err(OpenError::unsupported(directory, what));
    }
    for n in 1..=count {
        if !found.iter().any(|((number, _), _)| *number == n) {
            let name = format!("{stem}-{n:05}-of-{count:05}.safetensors");
            return Err(missing(directory, &name, &format!("{first} is one of {count}")));
        }
    }
    if let Some((_, extra)) = found
        .iter()
        .find(|((number, _), _)| *number == 0 || *number > count)
    {
        let what = format!("{extra} is not one of {count} files");
        return Err(OpenError::unsupported(directory, what));
    }
    Ok(found.into_iter().map(|(_, name)| name.clone()).collect())
}

/// The files `STEM.00.safetensors` and so on, in order; there must be no gap.
fn numbered(directory: &Path, stem: &str) -> Result<Vec<String>, OpenError> {
    let number = |name: &str| -> Option<u32> {
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let digits = rest.strip_suffix(".safetensors")?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let names = names(directory)?.into_iter();
    let mut files: Vec<_> = names.filter_map(|name| Some((number(&name)?, name))).collect();
    files.sort();
    for (i, (_, file)) in files.iter().enumerate() {
        let expected = format!("{stem}.{i:02}.safetensors");
        if *file != expected {
            return Err(missing(directory, &expected, &format!("{file} is there")));
        }
    }
    Ok(files.into_iter().map(|(_, name)| name).collect())
}

/// The file beside `name` that a download has not finished, if there is one.
fn unfinished(directory: &Path, name: &str) -> Option<String> {
    let mut names = UNFINISHED.iter().map(|end| format!("{name}{end}"));
    names.find(|name| directory.join(name).exists())
}

/// Why `name` is not there, if it shows.
fn absent(directory: &Path, name: &str) -> Option<OpenError> {
    let path = directory.join(name);
    if let Ok(to) = std::fs::read_link(&path) {
        let problem = format!("a link to {}, which is missing", to.display());
        return Some(OpenError::misplaced(&path, problem, AGAIN));
    }
    unfinished(directory, name).map(|part| {
        let problem = format!("the file is missing: its download is incomplete, {part} is there");
        OpenError::misplaced(&path, problem, AGAIN)
    })
}

const AGAIN: &str = "finish the download; the same command (hf download, git lfs pull, curl -C -) goes on where it stopped";

/// The error of a file that should be there, `since` what.
fn missing(directory: &Path, name: &str, since: &str) -> OpenError {
    absent(directory, name).unwrap_or_else(|| {
        let problem = format!("the file is missing: {since}");
        OpenError::misplaced(&directory.join(name), problem, AGAIN)
    })
}

fn is_plain(file: &str) -> bool {
    let mut components = Path::new(file).components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    )
}
