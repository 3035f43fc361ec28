//! The journal of an unfinished file: what lets a later run trust the bytes that are there.
//!
//! ```text
//! | "bise journal 1\n\0" | job: 32 bytes | for each slab written: 32 bytes |
//! ```
//!
//! The job is a hash of all that the output depends on. A slab's record is the SHA-256 of its
//! matrix up to the slab's end, so that one pass of hashing serves the journal and the file's own
//! hashes. A record counts when the bytes in the file hash to it: one that is torn, or got to the
//! disk before its slab, does not.

use crate::integrity::digest::Digest;
use crate::write::plan::Plan;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

const MAGIC: &[u8; 16] = b"bise journal 1\n\0";

/// Where an earlier run got to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There was none.
    Nothing,
    /// It was about another job.
    OtherJob,
    /// Slabs up to this one are good.
    Slabs(usize),
}

/// A journal, open at its end.
pub(crate) struct Journal<'a>(&'a File);

impl<'a> Journal<'a> {
    /// Reads `file` and checks `part` against it. What does not count is cut off, and `hashes`
    /// knows what does.
    pub(crate) fn open(
        mut file: &'a File,
        part: &File,
        job: &Digest,
        plan: &Plan,
        hashes: &mut Hashes,
    ) -> io::Result<(Self, Found)> {
        let mut bytes = Vec::new();
        let most = MAGIC.len() + 32 * (1 + plan.slabs.len());
        file.seek(SeekFrom::Start(0))?;
        file.take(most as u64).read_to_end(&mut bytes)?;
        let found = match bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first_chunk())
        {
            _ if bytes.is_empty() => Found::Nothing,
            Some((found, records)) if found == job => {
                Found::Slabs(check(part, records.as_chunks().0, plan, hashes)?)
            }
            _ => Found::OtherJob,
        };
        if let Found::Slabs(good) = found {
            let end = (MAGIC.len() + 32 * (1 + good)) as u64;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
        } else {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&[&MAGIC[..], job].concat())?;
        }
        Ok((Self(file), found))
    }

    /// A slab has been written.
    pub(crate) fn record(&mut self, digest: &Digest) -> io::Result<()> {
        self.0.write_all(digest)
    }
}

/// How many slabs in `part` are as the records say.
fn check(
    mut part: &File,
    records: &[Digest],
    plan: &Plan,
    hashes: &mut Hashes,
) -> io::Result<usize> {
    let len = part.metadata()?.len();
    let mut bytes = Vec::new();
    for (i, (slab, record)) in plan.slabs.iter().zip(records).enumerate() {
        if slab.offset + slab.len as u64 > len {
            return Ok(i);
        }
        bytes.resize(slab.len, 0);
        part.seek(SeekFrom::Start(slab.offset))?;
        part.read_exact(&mut bytes)?;
        let before = hashes.clone();
        if hashes.push(&bytes, slab.ends_matrix) != *record {
            *hashes = before;
            return Ok(i);
        }
    }
    Ok(records.len())
}

/// The SHA-256 of each matrix so far.
#[derive(Clone, Default)]
pub(crate) struct Hashes {
    done: Vec<Digest>,
    current: Sha256,
}

impl Hashes {
    /// Takes the next slab; gives the hash of its matrix up to its end.
    pub(crate) fn push(&mut self, bytes: &[u8], ends_matrix: bool) -> Digest {
        self.current.update(bytes);
        let digest = self.current.clone().finalize().into();
        if ends_matrix {
            self.done.push(digest);
            self.current = Sha256::new();
        }
        digest
    }

    /// Of all matrices, in the order of the file.
    pub(crate) fn into_digests(self) -> Vec<Digest> {
        self.done
    }
}
