//! Files that were quantized from models of a hub: they are in no one's cache but ours.
//!
//! ```text
//! CACHE/bise/models/OWNER--NAME/COMMIT-TYPE.gguf
//! ```

use anyhow::{Context as _, Result};
use bise_hub::Name;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("bise").join("models"))
}

fn folder(name: &Name) -> Option<PathBuf> {
    Some(root()?.join(format!("{}--{}", name.owner, name.name)))
}

/// Where the model of `name` is made, at a commit, of a type.
pub fn path(name: &Name, commit: &str, word: &str) -> Result<PathBuf> {
    let folder = folder(name).context("no folder for caches is known: set HOME")?;
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(format!("{commit}-{word}.gguf")))
}

/// The newest file that was made of `name`, of a type.
pub fn find(name: &Name, word: &str) -> Option<PathBuf> {
    let end = format!("-{word}.gguf").to_lowercase();
    let is = |path: &PathBuf| {
        let file = path.file_name().map(|file| file.to_string_lossy().to_lowercase());
        file.is_some_and(|file| !file.starts_with('.') && file.ends_with(&end))
    };
    files(&folder(name)?)
        .into_iter()
        .filter(is)
        .max_by_key(|path| fs::metadata(path).and_then(|found| found.modified()).ok())
}

/// All files, with the names that they are called by.
pub fn list() -> Vec<(String, PathBuf)> {
    let folders = root().map(|root| files(&root)).unwrap_or_default();
    let of = |folder: PathBuf| {
        let name = folder.file_name()?.to_str()?.replacen("--", "/", 1);
        let name = move |path: PathBuf| {
            let word = path.file_stem()?.to_str()?.split_once('-')?.1.to_owned();
            Some((format!("{name}:{word}"), path))
        };
        Some(files(&folder).into_iter().filter_map(name).collect::<Vec<_>>())
    };
    folders.into_iter().filter_map(of).flatten().collect()
}

/// Removes the files that were made of `name`; of a type, when it says one. Gives their bytes.
pub fn remove(name: &Name) -> Result<u64> {
    let Some(folder) = folder(name) else {
        return Ok(0);
    };
    let chosen = match &name.part {
        Some(word) => find(name, word).into_iter().collect(),
        None => files(&folder),
    };
    let mut bytes = 0;
    for path in chosen {
        bytes += fs::metadata(&path).map_or(0, |found| found.len());
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    // It may hold others.
    let _ = fs::remove_dir(folder);
    Ok(bytes)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
