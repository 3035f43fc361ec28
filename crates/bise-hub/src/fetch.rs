//! The bytes of one file: several pieces at once, each from where it broke off.

use crate::client::{Client, Stopped, backoff, pause};
use crate::error::HubError;
use crate::pieces::Pieces;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Connections at a time.
const CONNECTIONS: usize = 4;
/// Breaks in a row without a byte in between.
const TRIES: u32 = 5;

/// A file that is fetched.
pub(crate) struct Fetch<'a> {
    pub client: &'a Client,
    pub url: &'a str,
    /// What messages call it.
    pub what: &'a str,
    pub size: u64,
    /// Where its bytes are gathered.
    pub incomplete: PathBuf,
    /// Which pieces have come.
    pub record: PathBuf,
    pub stopped: Stopped<'a>,
    /// Hears how many more bytes are there, or how many fewer.
    pub more: &'a (dyn Fn(i64) + Sync),
}

/// Why a piece does not come.
enum Failure {
    /// The server gives whole files alone.
    NoRange,
    Other(HubError),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Other(error)
    }
}

impl Fetch<'_> {
    /// Gathers all bytes at `incomplete`.
    pub fn run(&self) -> Result<(), HubError> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.incomplete);
        let file = file.map_err(|e| HubError::io(&self.incomplete, e))?;
        let length = file
            .metadata()
            .map_err(|e| HubError::io(&self.incomplete, e))?
            .len();
        if length != self.size {
            // Another file, or none yet: what the record says is of no use.
            remove(&self.record)?;
            file.set_len(self.size)
                .map_err(|e| HubError::io(&self.incomplete, e))?;
        }
        drop(file);
        let pieces = Pieces::open(&self.record, self.size);
        let pieces = pieces.map_err(|e| HubError::io(&self.record, e))?;
        (self.more)(pieces.bytes() as i64);
        let missing = pieces.missing();
        match self.in_pieces(pieces, missing) {
            Ok(()) => Ok(()),
            Err(Failure::NoRange) => self.whole(),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    fn in_pieces(&self, pieces: Pieces, missing: Vec<usize>) -> Result<(), Failure> {
        let connections = missing.len().min(CONNECTIONS);
        let left = Mutex::new(missing.into_iter().rev().collect::<Vec<usize>>());
        let (pieces, failed) = (Mutex::new(pieces), AtomicBool::new(false));
        let next = || left.lock().expect("no thread panics").pop();
        let stopped = || failed.load(Ordering::Relaxed) || (self.stopped)();
        let work = || -> Result<(), Failure> {
            let mut file = self.open()?;
            while let Some(piece) = next() {
                let done = self.piece(&mut file, Pieces::range(self.size, piece), &stopped);
                done.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                let io = |e| HubError::io(&self.incomplete, e);
                file.sync_data().map_err(io)?;
                let mark = pieces.lock().expect("no thread panics").mark(piece);
                mark.map_err(|e| HubError::io(&self.record, e))?;
            }
            Ok(())
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().expect("no thread panics")
            };
            threads.into_iter().map(join).collect()
        });
        // Those that were stopped because another one failed are not the reason.
        let reason = |result: &Result<(), Failure>| match result {
            Ok(()) => 3,
            Err(Failure::Other(HubError::Stopped)) => 2,
            Err(Failure::Other(_)) => 1,
            Err(Failure::NoRange) => 0,
        };
        results.into_iter().min_by_key(reason).unwrap_or(Ok(()))
    }

    /// Gets the bytes in `range`, however often the connection breaks, as long as some come.
    fn piece(
        &self,
        file: &mut File,
        range: Range<u64>,
        stopped: Stopped<'_>,
    ) -> Result<(), Failure> {
        let (mut at, mut tries) = (range.start, 0);
        while at < range.end {
            let response = self
                .client
                .get(self.url, Some((at, range.end)), self.what, stopped)?;
            if response.status() != 206 {
                let whole = at == 0 && range.end == self.size;
                if !whole {
                    (self.more)(-((at - range.start) as i64));
                    return Err(Failure::NoRange);
                }
            } else {
                self.check_range(response.headers(), at)?;
            }
            let from = at;
            let mut body = response.into_body();
            self.copy(&mut body.as_reader(), file, &mut at, range.end, stopped)?;
            tries = if at > from { 0 } else { tries + 1 };
            if at < range.end {
                if tries >= TRIES {
                    return Err(self.broken().into());
                }
                pause(backoff(tries), stopped)?;
            }
        }
        Ok(())
    }

    /// A server that gives whole files alone, from the beginning each time.
    fn whole(&self) -> Result<(), HubError> {
        remove(&self.record)?;
        let mut file = self.open()?;
        for tries in 1..=TRIES {
            let response = self.client.get(self.url, None, self.what, self.stopped)?;
            let (mut at, mut body) = (0, response.into_body());
            self.copy(&mut body.as_reader(), &mut file, &mut at, self.size, self.stopped)?;
            if at == self.size {
                return file.sync_data().map_err(|e| HubError::io(&self.incomplete, e));
            }
            (self.more)(-(at as i64));
            pause(backoff(tries), self.stopped)?;
        }
        Err(self.broken())
    }

    /// Writes what `body` gives at `at`, and moves it on; up to `end`, or until the connection breaks.
    fn copy(
        &self,
        body: &mut dyn Read,
        file: &mut File,
        at: &mut u64,
        end: u64,
        stopped: Stopped<'_>,
    ) -> Result<(), HubError> {
        let io = |e| HubError::io(&self.incomplete, e);
        let mut part = vec![0; 1 << 16];
        file.seek(SeekFrom::Start(*at)).map_err(io)?;
        while *at < end {
            if stopped() {
                return Err(HubError::Stopped);
            }
            let most = part.len().min((end - *at) as usize);
            let n = match body.read(&mut part[..most]) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(()),
            };
            file.write_all(&part[..n]).map_err(io)?;
            *at += n as u64;
            (self.more)(n as i64);
        }
        Ok(())
    }

    /// Whether the answer is of the bytes from `at` on, of a file of this size.
    fn check_range(&self, headers: &ureq::http::HeaderMap, at: u64) -> Result<(), HubError> {
        let found = headers.get("content-range").and_then(|value| value.to_str().ok());
        let found = found.unwrap_or("no Content-Range");
        let begins = found.strip_prefix(&format!("bytes {at}-")).is_some();
        if begins && found.ends_with(&format!("/{}", self.size)) {
            return Ok(());
        }
        Err(HubError::Answer {
            what: self.what.to_owned(),
            found: found.to_owned(),
            expected: format!("bytes {at}-../{}", self.size),
        })
    }

    fn open(&self) -> Result<File, HubError> {
        let file = File::options().write(true).open(&self.incomplete);
        file.map_err(|e| HubError::io(&self.incomplete, e))
    }

    fn broken(&self) -> HubError {
        let pieces = Pieces::open(&self.record, self.size);
        HubError::Broken {
            what: self.what.to_owned(),
            have: pieces.map_or(0, |pieces| pieces.bytes()),
            size: self.size,
        }
    }
}

/// Removes a file that need not be there.
pub(crate) fn remove(path: &Path) -> Result<(), HubError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::io(path, error)),
        _ => Ok(()),
    }
}
