//! Prompts that were read before, kept in a directory.
//!
//! Each is a session file without a sampler, named after what must be the same to use it and after
//! its tokens:
//!
//! ```text
//! <model, contract, type of keys and values>-<tokens>.prompt      16 hexadecimal digits of SHA-256 each
//! ```
//!
//! A prompt goes on from the file that has the longest beginning in common with it. Files appear
//! whole, a reader that finds one gone takes another, and nothing else is shared: any number of
//! programs can use a directory at a time. What was not used for longest goes first when there is
//! not enough room.

use super::file::{Kept, is_session, open};
use super::header::{Header, window};
use super::{Session, SessionError};
use crate::fingerprint::CONTRACT;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Fewer tokens are not worth a file.
const LEAST: usize = 16;
/// A temporary file that is older belongs to a program that was killed.
const STALE: Duration = Duration::from_secs(3600);

/// A directory of prompts.
#[derive(Debug, Clone)]
pub struct PromptCache {
    directory: PathBuf,
    most: u64,
}

/// What was found in a [`PromptCache`].
#[derive(Debug, Default)]
pub struct Restored {
    /// Tokens of the prompt that need not be read.
    pub tokens: usize,
    /// Files that could not be used, and why; those that are damaged are deleted.
    pub refused: Vec<(PathBuf, SessionError)>,
}

impl PromptCache {
    /// Prompts in `directory`, which is made if need be, of at most `most` bytes together.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(directory: &Path, most: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            most,
        })
    }

    /// Makes `session`'s text what is known of the beginning of `prompt`.
    pub fn restore(&self, session: &mut Session, prompt: &[u32]) -> Restored {
        session.clear();
        let mut restored = Restored::default();
        let mut candidates = Vec::new();
        for path in self.files(&key(session)) {
            match open(&path, session) {
                Ok((_, header, tokens)) => {
                    let common = common(&tokens, prompt).min(header.read as usize);
                    if common >= LEAST && reaches(&header, common) {
                        candidates.push((common, path));
                    }
                }
                Err(error) => restored.refuse(path, error),
            }
        }
        candidates.sort();
        while let Some((common, path)) = candidates.pop() {
            match session.restore(&path) {
                Ok(_) if session.truncate(common) && session.tokens() == &prompt[..common] => {
                    touch(&path);
                    restored.tokens = common;
                    break;
                }
                Ok(_) => session.clear(),
                Err(error) => restored.refuse(path, error),
            }
        }
        restored
    }

    /// Keeps the text that `session` has read, unless it is too long or too short, or known
    /// already.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn store(&self, session: &mut Session) -> Result<(), SessionError> {
        let read = session.context.len().min(session.read);
        if read < LEAST || session.dropped > 0 || session.file_len() > self.most {
            return Ok(());
        }
        let key = key(session);
        let tokens = session.tokens[..read].to_vec();
        let whole = |other: &[u32]| common(other, &tokens) == other.len();
        let linear = session.context.capacity().is_some();
        let mut shorter = Vec::new();
        for path in self.files(&key) {
            if let Ok((_, header, other)) = open(&path, session) {
                let other = &other[..(header.read - header.dropped) as usize];
                if common(other, &tokens) + LEAST > read && reaches(&header, read) {
                    return Ok(());
                }
                if linear && whole(other) {
                    shorter.push(path);
                }
            }
        }
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
        let path = self.directory.join(format!("{key}-{}.prompt", digits(&bytes)));
        if path.exists() && !is_session(&path)? {
            return Ok(());
        }
        session.save(&path, &Kept::default())?;
        // What is the beginning of another prompt can be restored from it.
        for path in shorter {
            let _ = fs::remove_file(path);
        }
        self.make_room(&path);
        Ok(())
    }

    /// Prompts whose names begin with `key`.
    fn files(&self, key: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let named = |path: &PathBuf| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with(key) && name.ends_with(".prompt") && !name.starts_with('.')
        };
        entries.map(|entry| entry.path()).filter(named).collect()
    }

    /// Deletes what was not used for longest, but not `newest`, until all fit; and what killed
    /// programs left.
    fn make_room(&self, newest: &Path) {
        let used = |path: &PathBuf| {
            let about = fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len(), path.clone()))
        };
        // A file of someone else's may be called so too.
        let files = self.files("").into_iter();
        let ours = files.filter(|path| is_session(path).unwrap_or(false));
        let mut files: Vec<_> = ours.filter_map(|path| used(&path)).collect();
        files.sort();
        let mut total: u64 = files.iter().map(|file| file.1).sum();
        for (_, len, path) in files {
            if total > self.most && path != newest && fs::remove_file(&path).is_ok() {
                total -= len;
            }
        }
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let temporary = name.to_str().is_some_and(|n| {
                n.starts_with('.') && n.contains(".prompt.") && n.ends_with(".tmp")
            });
            let age = entry
                .metadata()
                .ok()
                .and_then(|m| m.modified().ok())
                .and_then(|m| m.elapsed().ok());
            if temporary && age.is_some_and(|age| age > STALE) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Restored {
    /// Notes why a file is of no use, and deletes it unless it only could not be read, or is no
    /// session at all.
    fn refuse(&mut self, path: PathBuf, error: SessionError) {
        match &error {
            SessionError::Io(io) if io.kind() == io::ErrorKind::NotFound => return,
            // A longer context could use it.
            SessionError::Mismatch { .. } => return,
            SessionError::Io(_) | SessionError::Magic => {}
            _ => {
                let _ = fs::remove_file(&path);
            }
        }
        self.refused.push((path, error));
    }
}

/// Whether the first `len` tokens of a file can be gone on from, by reading the last of them once
/// more.
fn reaches(header: &Header, len: usize) -> bool {
    len <= header.read as usize && len.saturating_sub(1) >= header.earliest as usize
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// What must be the same for a file to be of use.
fn key(session: &Session) -> String {
    let context = &session.context;
    let mut bytes = context.model().fingerprint().bytes().to_vec();
    bytes.extend(CONTRACT.to_le_bytes());
    bytes.extend(context.options().kv.id().to_le_bytes());
    bytes.extend(window(session).to_le_bytes());
    digits(&bytes)
}

/// 16 hexadecimal digits that stand for `bytes`.
fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Makes `path` the last one used.
fn touch(path: &Path) {
    if let Ok(file) = File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}
