//! Where models come from: what there is, and how it comes into the cache.

use crate::cache::{Cache, from_env, home};
use crate::choice::{Choice, choose_among};
use crate::client::{Client, pause};
use crate::digest::ContentHash;
use crate::error::HubError;
use crate::fetch::{Fetch, remove};
use crate::name::{Name, is_file};
use serde::Deserialize;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A hub, and the folder that its models come to.
pub struct Hub {
    endpoint: String,
    client: Client,
    cache: Cache,
    offline: bool,
}

/// What there is of a repository at a revision.
#[derive(Clone, Debug)]
pub struct Repository {
    /// What it is called.
    pub name: Name,
    /// The commit.
    pub commit: String,
    /// Its files, by name.
    pub files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Clone, Debug)]
pub struct RemoteFile {
    /// Its path there.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What its contents hash to; none when the hub does not say.
    hash: Option<ContentHash>,
}

/// A model that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What to open: a GGUF file, or a directory.
    pub path: PathBuf,
    /// Bytes that came now.
    pub fetched: u64,
}

/// Who looks on while a model comes.
pub trait Watch: Sync {
    /// So many bytes are to come, of which some may be there.
    fn total(&self, _bytes: u64) {}
    /// So many more bytes are there, or fewer when a server begins again.
    fn advance(&self, _bytes: i64) {}
    /// Something else is being done.
    fn note(&self, _what: &str) {}
    /// Whether to stop.
    fn stopped(&self) -> bool {
        false
    }
}

/// Bytes of a hub's answer about a repository, at most.
const LARGEST_LIST: u64 = 64 << 20;

#[derive(Deserialize)]
struct Told {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
}

impl Hub {
    /// The hub at `endpoint`, such as `https://huggingface.co`.
    pub fn new(endpoint: &str, token: Option<&str>, cache: Cache, offline: bool) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            client: Client::new(token),
            cache,
            offline,
        }
    }

    /// As the environment says: `HF_ENDPOINT`, `HF_TOKEN` (else the file `$HF_TOKEN_PATH`, else
    /// `$HF_HOME/token`), `HF_HUB_CACHE` and `HF_HOME`, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// When there is no folder for models.
    pub fn from_env() -> Result<Self, HubError> {
        let cache = Cache::from_env()?;
        let from = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        let endpoint = from("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let file = || {
            let usual = || Some(home()?.join("token"));
            let path = from_env("HF_TOKEN_PATH").or_else(usual)?;
            let mut text = String::new();
            File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
            Some(text)
        };
        let token = from("HF_TOKEN").or_else(file).map(|text| text.trim().to_owned());
        let token = token.filter(|token| !token.is_empty());
        let offline = from("HF_HUB_OFFLINE").or_else(|| from("TRANSFORMERS_OFFLINE"));
        let offline = offline
            .is_some_and(|text| ["1", "on", "yes", "true"].contains(&text.to_lowercase().as_str()));
        Ok(Self::new(&endpoint, token.as_deref(), cache, offline))
    }

    /// The folder that models come to.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Asks what there is of the repository that `name` names.
    ///
    /// # Errors
    /// When the hub is not reached, or has no such repository or revision.
    pub fn repository(&self, name: &Name, watch: &dyn Watch) -> Result<Repository, HubError> {
        if self.offline {
            return Err(HubError::Offline {
                name: name.to_string(),
            });
        }
        let (id, revision) = (name.repository(), encoded(&name.revision));
        let url = format!("{}/api/models/{id}/revision/{revision}?blobs=true", self.endpoint);
        let response = self
            .client
            .get(&url, None, &name.to_string(), &|| watch.stopped())?;
        let answer = |found: String, expected: &str| HubError::Answer {
            what: name.to_string(),
            found,
            expected: expected.to_owned(),
        };
        let mut bytes = Vec::new();
        let read = response
            .into_body()
            .into_reader()
            .take(LARGEST_LIST)
            .read_to_end(&mut bytes);
        read.map_err(|source| HubError::Network {
            what: name.to_string(),
            source: Box::new(source),
        })?;
        let told: Told = serde_json::from_slice(&bytes).map_err(|error| {
            answer(error.to_string(), "a list of the repository's files, as JSON")
        })?;
        let plain = (7..=64).contains(&told.sha.len())
            && told.sha.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain {
            return Err(answer(format!("commit {:?}", told.sha), "hexadecimal digits"));
        }
        let file = |sibling: Sibling| {
            let digits = sibling.lfs.map(|lfs| lfs.sha256).or(sibling.blob_id);
            Some(RemoteFile {
                hash: digits.and_then(|digits| ContentHash::parse(&digits)),
                size: sibling.size?,
                path: sibling.rfilename,
            })
        };
        let mut files: Vec<_> = told.siblings.into_iter().filter_map(file).collect();
        files.retain(|file| is_file(&file.path));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Repository {
            name: name.clone(),
            commit: told.sha,
            files,
        })
    }

    /// Brings the model that `name` names, all of whose files then are in the cache, whole and with
    /// the right hashes.
    ///
    /// # Errors
    /// When it does not come; what has come stays for the next call.
    pub fn pull(&self, name: &Name, watch: &dyn Watch) -> Result<Pulled, HubError> {
        if self.offline {
            let offline = || HubError::Offline {
                name: name.to_string(),
            };
            let path = self.cache.find(name).ok_or_else(offline)?;
            return Ok(Pulled { path, fetched: 0 });
        }
        let repository = self.repository(name, watch)?;
        let choice = repository.choose(name.part.as_deref())?;
        self.pull_files(&repository, &choice, watch)
    }

    /// Brings the files of `choice`.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub fn pull_files(
        &self,
        repository: &Repository,
        choice: &Choice,
        watch: &dyn Watch,
    ) -> Result<Pulled, HubError> {
        let name = &repository.name;
        let folder = self.cache.folder(name);
        let snapshot = folder.join("snapshots").join(&repository.commit);
        for part in ["blobs", "snapshots", "refs"] {
            make_folder(&folder.join(part))?;
        }
        let files: Vec<&RemoteFile> = repository
            .files
            .iter()
            .filter(|file| choice.files().contains(&file.path))
            .collect();
        let missing: Vec<&&RemoteFile> =
            files.iter().filter(|file| !is_there(&snapshot, file)).collect();
        let needed: u64 = missing.iter().map(|file| file.size).sum();
        self.check_space(&folder, &missing, needed)?;
        watch.total(needed);
        for file in &missing {
            self.bring(repository, file, &folder, &snapshot, watch)?;
        }
        write_whole(
            &folder.join("refs").join(&name.revision),
            repository.commit.as_bytes(),
        )?;
        let path = match choice {
            Choice::Gguf(parts) => snapshot.join(&parts[0]),
            Choice::Directory(_) => snapshot,
        };
        Ok(Pulled {
            path,
            fetched: needed,
        })
    }

    /// Whether what is still to come has room; holes of files that have begun take none yet.
    fn check_space(
        &self,
        folder: &Path,
        files: &[&&RemoteFile],
        needed: u64,
    ) -> Result<(), HubError> {
        let begun = |file: &&&RemoteFile| {
            let digits = file.hash.as_ref()?.digits();
            fs::metadata(folder.join("blobs").join(incomplete(digits))).ok()
        };
        let there: u64 = files.iter().filter_map(begun).map(|found| taken(&found)).sum();
        let needed = needed.saturating_sub(there);
        let free = fs4::available_space(folder).map_err(|e| HubError::io(folder, e))?;
        if needed > free {
            let path = folder.to_owned();
            return Err(HubError::DiskFull { path, needed, free });
        }
        Ok(())
    }

    /// Brings one file into the snapshot, while no other program does.
    fn bring(
        &self,
        repository: &Repository,
        file: &RemoteFile,
        folder: &Path,
        snapshot: &Path,
        watch: &dyn Watch,
    ) -> Result<(), HubError> {
        let name = &repository.name;
        let what = format!("{}:{}", name.repository(), file.path);
        let Some(hash) = &file.hash else {
            return Err(HubError::Answer {
                what,
                found: "a file without a hash".to_owned(),
                expected: "the SHA-256 or git blob id of each file".to_owned(),
            });
        };
        let blob = folder.join("blobs").join(hash.digits());
        let lock_path = self.cache.lock(name, hash.digits());
        let _lock = lock(&lock_path, &what, watch)?;
        let whole =
            fs::metadata(&blob).is_ok_and(|found| found.is_file() && found.len() == file.size);
        if whole {
            watch.advance(file.size as i64);
        } else {
            let (commit, path) = (&repository.commit, encoded(&file.path));
            let url = format!("{}/{}/resolve/{commit}/{path}", self.endpoint, name.repository());
            let fetch = Fetch {
                client: &self.client,
                url: &url,
                what: &what,
                size: file.size,
                incomplete: folder.join("blobs").join(incomplete(hash.digits())),
                record: folder
                    .join("blobs")
                    .join(format!("{}.bise.pieces", hash.digits())),
                stopped: &|| watch.stopped(),
                more: &|more| watch.advance(more),
            };
            fetch.run()?;
            self.check(&fetch, hash, watch)?;
            fs::rename(&fetch.incomplete, &blob).map_err(|e| HubError::io(&blob, e))?;
            remove(&fetch.record)?;
            sync_folder(&folder.join("blobs"))?;
        }
        link(&blob, snapshot, &file.path)
    }

    /// Compares the hash of what has come; removes it when it is another one.
    fn check(
        &self,
        fetch: &Fetch<'_>,
        hash: &ContentHash,
        watch: &dyn Watch,
    ) -> Result<(), HubError> {
        watch.note("checking");
        let io = |e| HubError::io(&fetch.incomplete, e);
        let source = File::open(&fetch.incomplete).map_err(io)?;
        let step = |_| match watch.stopped() {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        };
        let found = match hash.of(source, fetch.size, step) {
            Err(_) if watch.stopped() => return Err(HubError::Stopped),
            found => found.map_err(io)?,
        };
        watch.note("");
        if found == hash.digits() {
            return Ok(());
        }
        remove(&fetch.incomplete)?;
        remove(&fetch.record)?;
        Err(HubError::Damaged {
            what: fetch.what.to_owned(),
            kind: hash.kind(),
            found,
            expected: hash.digits().to_owned(),
        })
    }
}

impl Repository {
    /// Which of its files `part` asks for.
    ///
    /// # Errors
    /// When none, or several, with what there is.
    pub fn choose(&self, part: Option<&str>) -> Result<Choice, HubError> {
        let files: Vec<String> = self.files.iter().map(|file| file.path.clone()).collect();
        choose_among(&files, part).map_err(|no| HubError::Choice {
            name: self.name.to_string(),
            problem: no.problem,
            files: no.files,
        })
    }
}

/// What an address may hold of a path, the rest as `%XX`.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                text.push(byte.into())
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn incomplete(digits: &str) -> String {
    format!("{digits}.bise.incomplete")
}

/// Whether the snapshot has the file: a link to a blob, or the file itself, as on systems without
/// links.
fn is_there(snapshot: &Path, file: &RemoteFile) -> bool {
    fs::metadata(snapshot.join(&file.path))
        .is_ok_and(|found| found.is_file() && found.len() == file.size)
}

#[cfg(unix)]
fn taken(found: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    found.blocks() * 512
}

#[cfg(not(unix))]
fn taken(found: &fs::Metadata) -> u64 {
    found.len()
}

/// The lock at `path`, when other programs have let go of it.
fn lock(path: &Path, what: &str, watch: &dyn Watch) -> Result<File, HubError> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.map_err(|e| HubError::io(path, e))?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(HubError::io(path, error)),
            Err(TryLockError::WouldBlock) if !said => {
                watch.note(&format!("waiting for another program that gets {what}"));
                said = true;
            }
            Err(TryLockError::WouldBlock) => {}
        }
        pause(Duration::from_millis(100), &|| watch.stopped())?;
    }
}

fn make_folder(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(|e| HubError::io(path, e))
}

/// Writes a small file so that it is there whole, or as it was.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let write = || -> io::Result<()> {
        // Of a name of its own: other programs may do the same at this moment.
        let mut part = tempfile::NamedTempFile::new_in(folder)?;
        part.write_all(bytes)?;
        part.as_file().sync_all()?;
        part.persist(path)?;
        Ok(())
    };
    write().map_err(|e| HubError::io(path, e))
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> Result<(), HubError> {
    let sync = File::open(path).and_then(|folder| folder.sync_all());
    sync.map_err(|e| HubError::io(path, e))
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), HubError> {
    Ok(())
}

/// Puts `blob` into the snapshot as `file`.
#[cfg(unix)]
fn link(blob: &Path, snapshot: &Path, file: &str) -> Result<(), HubError> {
    let target = snapshot.join(file);
    if let Some(folder) = target.parent() {
        make_folder(folder)?;
    }
    let ups = "../".repeat(2 + file.matches('/').count());
    let digits = blob
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let part = target.with_file_name(format!(".{digits}.bise"));
    remove(&part)?;
    let io = |e| HubError::io(&target, e);
    std::os::unix::fs::symlink(format!("{ups}blobs/{digits}"), &part).map_err(io)?;
    fs::rename(&part, &target).map_err(io)
}

/// Puts `blob` into the snapshot as `file`: the file itself, where links need rights.
#[cfg(not(unix))]
fn link(blob: &Path, snapshot: &Path, file: &str) -> Result<(), HubError> {
    let target = snapshot.join(file);
    if let Some(folder) = target.parent() {
        make_folder(folder)?;
    }
    fs::rename(blob, &target).map_err(|e| HubError::io(&target, e))
}
