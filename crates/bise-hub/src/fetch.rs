//! The bytes of one file: several pieces at once, each from where it broke off.

use crate::client::{Client, Stopped, backoff, pause};
use crate::error::HubError;
use crate::pieces::{PIECE, Pieces};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Connections at a time.
const CONNECTIONS: usize = 4;
/// Bytes that are on the disk and recorded at a time.
const STEP: u64 = 4 << 20;
/// Pieces that one request asks for, at most.
const RUN: usize = 32;
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
        let before = pieces.bytes();
        match self.in_pieces(pieces) {
            Ok(()) => Ok(()),
            Err(Failure::NoRange) => {
                (self.more)(-(before as i64));
                self.whole()
            }
            Err(Failure::Other(error)) => Err(error),
        }
    }

    fn in_pieces(&self, pieces: Pieces) -> Result<(), Failure> {
        let runs = runs(&pieces.missing());
        let connections = runs.len().min(CONNECTIONS);
        let left = Mutex::new(runs.into_iter().rev().collect::<Vec<_>>());
        let (pieces, failed) = (Mutex::new(pieces), AtomicBool::new(false));
        let next = || left.lock().expect("no thread panics").pop();
        let stopped = || failed.load(Ordering::Relaxed) || (self.stopped)();
        let work = || -> Result<(), Failure> {
            let mut file = self.open()?;
            while let Some(run) = next() {
                let range = Pieces::range(self.size, run.start).start
                    ..Pieces::range(self.size, run.end - 1).end;
                let done = self.run_of_pieces(&mut file, range, &pieces, &stopped);
                done.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
            let results = threads
                .into_iter()
                .map(|thread| thread.join().expect("no thread panics"));
            results.collect()
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

    /// Gets the bytes in `range`, which are whole pieces, however often the connection breaks, as
    /// long as some come.
    fn run_of_pieces(
        &self,
        file: &mut File,
        range: Range<u64>,
        pieces: &Mutex<Pieces>,
        stopped: Stopped<'_>,
    ) -> Result<(), Failure> {
        let (mut at, mut marked, mut tries) = (range.start, range.start, 0);
        while at < range.end {
            let response = self
                .client
                .get(self.url, Some((at, range.end)), self.what, stopped)?;
            if response.status() != 206 {
                let whole = at == 0 && range.end == self.size;
                if !whole {
                    return Err(Failure::NoRange);
                }
            } else {
                self.check_range(response.headers(), at)?;
            }
            let (from, mut body) = (at, response.into_body());
            let mut reader = body.as_reader();
            loop {
                let step = ((at / STEP + 1) * STEP).min(range.end);
                let copied = self.copy(&mut reader, file, &mut at, step, stopped);
                self.mark(file, pieces, &mut marked, at)?;
                copied?;
                if at < step || at == range.end {
                    break;
                }
            }
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

    /// Records the pieces between `marked` and `at`, once their bytes are on the disk.
    fn mark(
        &self,
        file: &File,
        pieces: &Mutex<Pieces>,
        marked: &mut u64,
        at: u64,
    ) -> Result<(), HubError> {
        let end = |marked: u64| Pieces::range(self.size, (marked / PIECE) as usize).end;
        if *marked >= self.size || end(*marked) > at {
            return Ok(());
        }
        file.sync_data().map_err(|e| HubError::io(&self.incomplete, e))?;
        let mut pieces = pieces.lock().expect("no thread panics");
        while *marked < self.size && end(*marked) <= at {
            let mark = pieces.mark((*marked / PIECE) as usize);
            mark.map_err(|e| HubError::io(&self.record, e))?;
            *marked = end(*marked);
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

    /// Writes what `body` gives at `at`, and moves it on; up to `end`, or until the connection
    /// breaks.
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

/// Neighbouring pieces, as requests ask for them: each connection has some to do.
fn runs(missing: &[usize]) -> Vec<Range<usize>> {
    let longest = missing.len().div_ceil(CONNECTIONS).clamp(1, RUN);
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &piece in missing {
        match runs.last_mut() {
            Some(run) if run.end == piece && run.len() < longest => run.end += 1,
            _ => runs.push(piece..piece + 1),
        }
    }
    runs
}

/// Removes a file that need not be there.
pub(crate) fn remove(path: &Path) -> Result<(), HubError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::io(path, error)),
        _ => Ok(()),
    }
}
