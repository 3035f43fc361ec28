//! The folder that models are in, as Hugging Face's Python tools lay it out.

use crate::choice::{Choice, choose_among};
use crate::error::HubError;
use crate::fetch::remove;
use crate::name::Name;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder that models are in.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A model that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// `OWNER/NAME`, and the file for a GGUF file.
    pub name: String,
    /// What to open: a file, or a directory.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Cache {
    /// The cache in `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`.
    ///
    /// # Errors
    /// When none of them is known.
    pub fn from_env() -> Result<Self, HubError> {
        let hub = || Some(home()?.join("hub"));
        from_env("HF_HUB_CACHE")
            .or_else(hub)
            .map(Self::new)
            .ok_or(HubError::NoFolder)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a repository.
    pub(crate) fn folder(&self, name: &Name) -> PathBuf {
        self.root.join(folder_name(name))
    }

    /// The lock of a blob.
    pub(crate) fn lock(&self, name: &Name, digits: &str) -> PathBuf {
        self.root
            .join(".locks")
            .join(folder_name(name))
            .join(format!("{digits}.lock"))
    }

    /// The commit that a revision is at, as far as is known here.
    pub(crate) fn commit(&self, name: &Name) -> Option<String> {
        let folder = self.folder(name);
        let stated = fs::read_to_string(folder.join("refs").join(&name.revision)).ok();
        let commit = stated.map_or_else(|| name.revision.clone(), |text| text.trim().to_owned());
        let plain = !commit.is_empty() && commit.bytes().all(|b| b.is_ascii_alphanumeric());
        (plain && folder.join("snapshots").join(&commit).is_dir()).then_some(commit)
    }

    /// Where the model called `name` is, if all of its files are there.
    pub fn find(&self, name: &Name) -> Option<PathBuf> {
        let snapshot = self.folder(name).join("snapshots").join(self.commit(name)?);
        let files = files_in(&snapshot);
        match choose_among(&files, name.part.as_deref()).ok()? {
            Choice::Gguf(parts) => {
                let complete = part_count(&parts[0]).is_none_or(|count| count == parts.len());
                complete.then(|| snapshot.join(&parts[0]))
            }
            Choice::Directory(files) => {
                let has = |name: &str| files.iter().any(|file| file == name);
                let complete = has("config.json") || has("params.json");
                (complete && all_weights(&snapshot, &files)).then_some(snapshot)
            }
        }
    }

    /// Every model that is there, by name.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Cached>, HubError> {
        let mut found = Vec::new();
        for name in self.names()? {
            let snapshots = self.folder(&name).join("snapshots");
            let commits = folders(&snapshots);
            for commit in &commits {
                let snapshot = snapshots.join(commit);
                let files = files_in(&snapshot);
                let bytes = |files: &[String]| {
                    let size =
                        |file: &String| fs::metadata(snapshot.join(file)).map_or(0, |m| m.len());
                    files.iter().map(size).sum()
                };
                let at = match commits.len() {
                    1 => String::new(),
                    _ => format!("@{}", &commit[..commit.len().min(12)]),
                };
                let mut ggufs: Vec<_> =
                    files.iter().filter(|file| file.ends_with(".gguf")).collect();
                ggufs.sort();
                let mut listed = BTreeSet::new();
                for file in ggufs {
                    let Ok(Choice::Gguf(parts)) = choose_among(&files, Some(file)) else {
                        continue;
                    };
                    if listed.insert(parts[0].clone()) {
                        found.push(Cached {
                            name: format!("{}{at}:{}", name.repository(), parts[0]),
                            path: snapshot.join(&parts[0]),
                            bytes: bytes(&parts),
                        });
                    }
                }
                if let (true, Ok(Choice::Directory(parts))) =
                    (listed.is_empty(), choose_among(&files, None))
                {
                    found.push(Cached {
                        name: format!("{}{at}", name.repository()),
                        path: snapshot.clone(),
                        bytes: bytes(&parts),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Removes the model called `name`: the file that it names, or all of the repository. What
    /// other revisions share stays. Gives the bytes that became free; `None` when nothing is there.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self, name: &Name) -> Result<Option<u64>, HubError> {
        let folder = self.folder(name);
        if !folder.is_dir() {
            return Ok(None);
        }
        let before = blob_bytes(&folder);
        if name.part.is_none() {
            fs::remove_dir_all(&folder).map_err(|e| HubError::io(&folder, e))?;
            let locks = self.root.join(".locks").join(folder_name(name));
            let _ = fs::remove_dir_all(locks);
            return Ok(Some(before));
        }
        let mut gone = false;
        for commit in folders(&folder.join("snapshots")) {
            let snapshot = folder.join("snapshots").join(&commit);
            let files = files_in(&snapshot);
            let Ok(choice) = choose_among(&files, name.part.as_deref()) else {
                continue;
            };
            for file in choice.files() {
                remove(&snapshot.join(file))?;
                gone = true;
            }
        }
        self.remove_unused_blobs(&folder)?;
        Ok(gone.then(|| before.saturating_sub(blob_bytes(&folder))))
    }

    /// Removes blobs that no snapshot links to; what is being fetched stays.
    fn remove_unused_blobs(&self, folder: &Path) -> Result<(), HubError> {
        let snapshots = folder.join("snapshots");
        let mut used = BTreeSet::new();
        for commit in folders(&snapshots) {
            for file in files_in(&snapshots.join(&commit)) {
                let link = fs::read_link(snapshots.join(&commit).join(file));
                used.extend(link.ok().and_then(|to| Some(to.file_name()?.to_owned())));
            }
        }
        let blobs = folder.join("blobs");
        for entry in fs::read_dir(&blobs).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_whole = name.to_str().is_some_and(|name| !name.contains('.'));
            if is_whole && !used.contains(&name) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<Name>, HubError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| HubError::io(&self.root, e))?,
        };
        let name = |entry: fs::DirEntry| {
            let folder = entry.file_name().into_string().ok()?;
            Name::parse(&folder.strip_prefix("models--")?.replacen("--", "/", 1)).ok()
        };
        let mut names: Vec<Name> = entries.flatten().filter_map(name).collect();
        names.sort_by_key(Name::repository);
        Ok(names)
    }
}

/// The path that a variable of the environment holds, if it holds one.
pub(crate) fn from_env(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// Where Hugging Face's tools keep what is a user's: `$HF_HOME`, else `~/.cache/huggingface`.
pub(crate) fn home() -> Option<PathBuf> {
    let usual = || Some(std::env::home_dir()?.join(".cache/huggingface"));
    from_env("HF_HOME").or_else(usual)
}

fn folder_name(name: &Name) -> String {
    format!("models--{}--{}", name.owner, name.name)
}

/// Names of the folders in a folder, sorted.
fn folders(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The files in a snapshot whose contents are there, by their paths in it, sorted.
pub(crate) fn files_in(snapshot: &Path) -> Vec<String> {
    let mut files = Vec::new();
    walk(snapshot, "", 0, &mut files);
    files.sort();
    files
}

fn walk(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) {
    const DEEPEST: usize = 8;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let (path, name) = (entry.path(), format!("{prefix}{name}"));
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => files.push(name),
            Ok(found) if found.is_dir() && depth < DEEPEST => {
                walk(&path, &format!("{name}/"), depth + 1, files);
            }
            _ => {}
        }
    }
}

/// How many parts a file is one of.
fn part_count(file: &str) -> Option<usize> {
    file.strip_suffix(".gguf")?.rsplit_once("-of-")?.1.parse().ok()
}

/// Whether all the shards are there that an index names.
fn all_weights(snapshot: &Path, files: &[String]) -> bool {
    let indices = files
        .iter()
        .filter(|file| file.ends_with(".safetensors.index.json"));
    indices.into_iter().all(|index| {
        let json = fs::read(snapshot.join(index)).ok();
        let json: Option<serde_json::Value> =
            json.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let shards = json.as_ref().and_then(|json| json["weight_map"].as_object());
        let there = |shard: &serde_json::Value| {
            shard
                .as_str()
                .is_some_and(|shard| files.iter().any(|file| file == shard))
        };
        shards.is_none_or(|shards| shards.values().all(there))
    })
}

/// Bytes of all blobs of a repository.
fn blob_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder.join("blobs")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|m| m.len())
        .sum()
}
