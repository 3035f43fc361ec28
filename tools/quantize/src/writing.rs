//! Writing one file: what the job is, whether there is room, and what an earlier run has left of it.

use crate::error::QuantizeError;
use crate::journal::{Found, Hashes, Journal};
use crate::pipeline::{self, Output, Plan, Slab};
use crate::probe::Prober;
use crate::progress::Progress;
use crate::seal::{Digest, Seal};
use crate::slab;
use crate::source::Tensor;
use bise_tensor::atomic::Unfinished;
use bise_tensor::gguf::PartName;
use fs4::FileExt;
use sha2::{Digest as _, Sha256};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// All that the bytes of the output depend on: the source's files, what is done with them, this program's version, and the
/// layout.
pub(crate) fn identity(src: &Path, what: &str, seal: &Seal) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    put(env!("CARGO_PKG_VERSION").as_bytes());
    put(what.as_bytes());
    for path in files(src)? {
        let found = std::fs::metadata(&path)?;
        let modified = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        put(path.canonicalize()?.as_os_str().as_encoded_bytes());
        put(&found.len().to_le_bytes());
        put(&modified.as_nanos().to_le_bytes());
    }
    put(seal.layout().header());
    Ok(hash.finalize().into())
}

/// The files of a source: a file and, when it is part of a split one, the other parts; or what a directory holds.
fn files(src: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = if src.is_dir() {
        src
    } else {
        match src.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    };
    let part = src.file_name().and_then(|name| PartName::parse(name.to_str()?));
    let belongs = |path: &Path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if src.is_dir() {
            !name.starts_with('.') && !name.to_ascii_lowercase().ends_with(".gguf")
        } else {
            part.is_some()
                && PartName::parse(name).map(|other| other.sibling(0))
                    == part.as_ref().map(|part| part.sibling(0))
        }
    };
    let mut files: Vec<PathBuf> = if src.is_file() {
        vec![src.to_owned()]
    } else {
        Vec::new()
    };
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() && belongs(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What is written.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub tensors: &'a [Tensor],
    /// Threads to use; all cores when `None`.
    pub threads: Option<usize>,
    /// Whether all types stay as they are.
    pub verbatim: bool,
}

/// Who takes part in the writing.
#[derive(Clone, Copy)]
pub(crate) struct Listeners<'a> {
    pub progress: &'a dyn Progress,
    pub prober: Option<&'a dyn Prober>,
}

/// Writes the file that `seal` lays out to `dst`, going on where an earlier run of the same job got to.
///
/// Stopped, it leaves what there is for the next run; failed, it leaves nothing.
pub(crate) fn write(
    dst: &Path,
    job: &Digest,
    seal: Seal,
    source: Source<'_>,
    listeners: Listeners<'_>,
) -> Result<Vec<String>, QuantizeError> {
    let unfinished = Unfinished::open(dst)?;
    let mut notes = Vec::new();
    match fill(&unfinished, job, seal, source, (listeners, &mut notes)) {
        Ok(()) => unfinished.publish()?,
        Err(error) => {
            if !matches!(error, QuantizeError::Stopped) {
                // The error that led here matters more than one of cleaning up.
                let _ = unfinished.discard();
            }
            return Err(error);
        }
    }
    Ok(notes)
}

fn fill(
    unfinished: &Unfinished,
    job: &Digest,
    seal: Seal,
    source: Source<'_>,
    (listeners, notes): (Listeners<'_>, &mut Vec<String>),
) -> Result<(), QuantizeError> {
    let (mut part, layout, progress) = (unfinished.part(), seal.layout(), listeners.progress);
    let tensors = source.tensors;
    reserve(unfinished, layout.file_len())?;
    let plan = Plan::new(layout);
    let mut hashes = Hashes::default();
    let (journal, found) = Journal::open(unfinished.journal(), part, job, &plan, &mut hashes)?;
    let done = if let Found::Slabs(done) = found { done } else { 0 };
    let bytes: u64 = plan.slabs[..done].iter().map(|slab| slab.len as u64).sum();
    match found {
        Found::OtherJob => {
            notes.push("dropped what an earlier run of another source or other options left".into())
        }
        _ if done > 0 => notes.push(format!(
            "went on after {bytes} bytes that an earlier run had written"
        )),
        _ => {}
    }
    if done > 0 {
        let known = plan.slabs[..done].iter();
        progress.advance(
            known
                .map(|slab| tensors[slab.tensor].source_len_of(&slab.rows))
                .sum(),
        );
    }
    let output = Output {
        part,
        journal,
        hashes,
        done,
    };
    let types: Vec<_> = layout.tensors().values().map(|info| info.dtype).collect();
    let make = |slab: &Slab, out: &mut Vec<u8>| {
        let (tensor, dtype) = (&tensors[slab.tensor], types[slab.tensor]);
        if source.verbatim || tensor.is_verbatim(dtype) {
            slab::copy(tensor, slab, out);
            Ok(())
        } else {
            slab::make(tensor, dtype, slab, out)
        }
    };
    let pool = pipeline::pool(source.threads)?;
    let hashes = pipeline::run(&pool, (tensors, &plan), make, output, progress)?;
    clear_gaps(part, &plan, layout.file_len())?;
    part.seek(SeekFrom::Start(0))?;
    part.write_all(layout.header())?;
    let replay = replay(unfinished, &seal, listeners.prober, notes);
    let replay = replay
        .as_ref()
        .map(|(logits, arithmetic)| (&logits[..], *arithmetic));
    let header = seal
        .close(&hashes.into_digests(), replay)
        .map_err(QuantizeError::Write)?;
    part.seek(SeekFrom::Start(0))?;
    part.write_all(&header)?;
    Ok(())
}

/// What the file says to its probes, and by which arithmetic.
fn replay(
    unfinished: &Unfinished,
    seal: &Seal,
    prober: Option<&dyn Prober>,
    notes: &mut Vec<String>,
) -> Option<(Vec<Vec<f32>>, u32)> {
    let prober = prober.filter(|_| !seal.prompts().is_empty())?;
    match prober.logits(unfinished.part_path(), seal.prompts()) {
        Ok(logits) => Some((logits, prober.arithmetic())),
        Err(why) => {
            notes.push(format!("the file could not be probed: {why}"));
            None
        }
    }
}

/// Gives the file its length and takes the room on the disk for it, which there must be.
fn reserve(unfinished: &Unfinished, file_len: u64) -> Result<(), QuantizeError> {
    let part = unfinished.part();
    let taken = part.allocated_size()?;
    let free = fs4::available_space(unfinished.part_path())?;
    let needed = file_len.saturating_sub(taken);
    if needed > free {
        return Err(QuantizeError::NoRoom { needed, free });
    }
    part.set_len(file_len)?;
    match FileExt::allocate(part, file_len) {
        Err(e) if e.kind() == io::ErrorKind::StorageFull => Err(QuantizeError::NoRoom { needed, free }),
        // Where room cannot be taken in advance, writing will tell.
        _ => Ok(()),
    }
}

/// Zeros between tensors, and after the last: the part may have been another job's.
fn clear_gaps(mut part: &std::fs::File, plan: &Plan, file_len: u64) -> io::Result<()> {
    let ends = plan.slabs.iter().map(|slab| slab.offset + slab.len as u64);
    let starts = plan
        .slabs
        .iter()
        .skip(1)
        .map(|slab| slab.offset)
        .chain([file_len]);
    for (end, start) in ends.zip(starts).filter(|(end, start)| end < start) {
        part.seek(SeekFrom::Start(end))?;
        part.write_all(&vec![0; (start - end) as usize])?;
    }
    Ok(())
}
