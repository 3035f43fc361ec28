//! Writing one file: what the job is, whether there is room, and what an earlier run has left of
//! it.

use crate::choose::weigh::{ErrorWeights, Job, SquaredError};
use crate::error::QuantizeError;
use crate::integrity::digest::Digest;
use crate::integrity::manifest::Manifest;
use crate::integrity::probe::Prober;
use crate::progress::Progress;
use crate::write::journal::{Found, Hashes, Journal};
use crate::write::pipeline::{self, Output};
use crate::write::plan::Plan;
use crate::write::slab;
use crate::write::source::StackedTensor;
use bise_format::atomic::Unfinished;
use bise_format::gguf::{Layout, PartName};
use bise_kernels::block::DType;
use bise_model::CONTRACT;
use fs4::FileExt;
use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

/// Numbers what values become: raised whenever a search, or what errors weigh, chooses other bytes.
/// `tests/options.rs` holds them.
const METHOD: u32 = 3;

/// Numbers how a job is described: raised whenever the fields below, or what they say, change.
const IDENTITY: u32 = 1;

/// All that the bytes of the output depend on: the source's files, what else is `read`, what is done
/// with them, this program's version and method, and the layout.
pub(crate) fn identity(
    src: &Path,
    read: &[&Path],
    what: &str,
    manifest: &Manifest,
) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    put(&IDENTITY.to_le_bytes());
    put(env!("CARGO_PKG_VERSION").as_bytes());
    put(&METHOD.to_le_bytes());
    put(what.as_bytes());
    let mut paths = files(src)?;
    for path in read {
        paths.extend(files(path)?);
    }
    for path in paths {
        let found = std::fs::metadata(&path)?;
        let modified = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        put(path.canonicalize()?.as_os_str().as_encoded_bytes());
        put(&found.len().to_le_bytes());
        put(&modified.as_nanos().to_le_bytes());
    }
    put(manifest.layout().header());
    Ok(hash.finalize().into())
}

/// The files of a source: a file and, when it is part of a split one, the other parts; or what a
/// directory holds.
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
pub(crate) struct Contents<'a> {
    pub tensors: &'a [StackedTensor],
    /// How much errors weigh; all the same when `None`.
    pub weighing: Option<&'a ErrorWeights>,
    /// Whether to measure errors.
    pub measure: bool,
    pub pool: &'a ThreadPool,
    /// Whether all types stay as they are.
    pub verbatim: bool,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Written {
    /// What the user should know.
    pub notes: Vec<String>,
    /// The error of each tensor, when it was to be measured.
    pub errors: Vec<SquaredError>,
}

/// Who takes part in the writing.
#[derive(Clone, Copy)]
pub(crate) struct Listeners<'a> {
    pub progress: &'a dyn Progress,
    pub prober: Option<&'a Prober<'a>>,
}

/// Writes the file that `manifest` lays out to `dst`, going on where an earlier run of the same job
/// got to.
///
/// Stopped, it leaves what there is for the next run; failed, it leaves nothing.
pub(crate) fn write(
    dst: &Path,
    job: &Digest,
    manifest: Manifest,
    contents: Contents<'_>,
    listeners: Listeners<'_>,
) -> Result<Written, QuantizeError> {
    let unfinished = Unfinished::open(dst)?;
    match fill(&unfinished, dst, job, manifest, contents, listeners) {
        Ok(written) => {
            unfinished.publish()?;
            Ok(written)
        }
        Err(error) => {
            if !matches!(error, QuantizeError::Stopped) {
                // The error that led here matters more than one of cleaning up.
                let _ = unfinished.discard();
            }
            Err(error)
        }
    }
}

fn fill(
    unfinished: &Unfinished,
    dst: &Path,
    job: &Digest,
    manifest: Manifest,
    contents: Contents<'_>,
    listeners: Listeners<'_>,
) -> Result<Written, QuantizeError> {
    let mut notes = Vec::new();
    let (mut part, layout, progress) = (unfinished.part(), manifest.layout(), listeners.progress);
    let tensors = contents.tensors;
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
    let quantizer = Quantizer::new(contents, layout, &plan);
    // What an earlier run has written is made once more to know its error: the same bytes.
    if contents.measure {
        let made = |i| quantizer.make(i, &mut Vec::new());
        contents
            .pool
            .install(|| (0..done).into_par_iter().try_for_each(made))?;
    }
    let make = |i: usize, out: &mut Vec<u8>| quantizer.make(done + i, out);
    let hashes = pipeline::run(contents.pool, (tensors, &plan), make, output, progress)?;
    let errors = quantizer.errors();
    clear_gaps(part, &plan, layout.file_len())?;
    part.seek(SeekFrom::Start(0))?;
    part.write_all(layout.header())?;
    let replay = replay(unfinished, dst, &manifest, listeners.prober, &mut notes);
    let replay = replay
        .as_ref()
        .map(|(logits, arithmetic)| (&logits[..], *arithmetic));
    let header = manifest
        .close(&hashes.into_digests(), replay)
        .map_err(QuantizeError::Write)?;
    part.seek(SeekFrom::Start(0))?;
    part.write_all(&header)?;
    Ok(Written { notes, errors })
}

/// Makes the slabs of a file, and knows their errors.
struct Quantizer<'a> {
    contents: Contents<'a>,
    plan: &'a Plan,
    /// Of each tensor.
    types: Vec<DType>,
    /// Of each slab that was made.
    errors: Vec<OnceLock<SquaredError>>,
}

impl<'a> Quantizer<'a> {
    fn new(contents: Contents<'a>, layout: &Layout, plan: &'a Plan) -> Self {
        Self {
            contents,
            plan,
            types: layout.tensors().values().map(|info| info.dtype).collect(),
            errors: plan.slabs.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    fn make(&self, i: usize, out: &mut Vec<u8>) -> Result<(), QuantizeError> {
        let slab = &self.plan.slabs[i];
        let (tensor, dtype) = (&self.contents.tensors[slab.tensor], self.types[slab.tensor]);
        if self.contents.verbatim || tensor.is_verbatim(dtype) {
            slab::copy(tensor, slab, out);
            return Ok(());
        }
        let job = Job {
            tensor,
            dtype,
            importance: self.contents.weighing.and_then(|w| w.importance(slab.tensor)),
            measure: self.contents.measure,
        };
        out.resize(slab.len, 0);
        let error = slab::make(&job, &slab.rows, out)?;
        // Whoever made the slab first found the same.
        let _ = self.errors[i].set(error);
        Ok(())
    }

    /// Of each tensor; added up in the order of the file, however slabs were made.
    fn errors(&self) -> Vec<SquaredError> {
        let mut errors = vec![SquaredError::default(); self.types.len()];
        for (slab, error) in self.plan.slabs.iter().zip(&self.errors) {
            errors[slab.tensor] += error.get().copied().unwrap_or_default();
        }
        errors
    }
}

/// What the file says to its probes, and by which arithmetic.
fn replay(
    unfinished: &Unfinished,
    dst: &Path,
    manifest: &Manifest,
    prober: Option<&Prober<'_>>,
    notes: &mut Vec<String>,
) -> Option<(Vec<Vec<f32>>, u32)> {
    let prober = prober.filter(|_| !manifest.prompts().is_empty())?;
    match prober.logits_of_file(unfinished.part_path(), manifest.prompts()) {
        Ok(logits) => Some((logits, CONTRACT)),
        Err(why) => {
            // Nobody has heard of the name that the file has until it is complete.
            let [part, dst] = [unfinished.part_path(), dst].map(|path| path.display().to_string());
            let why = why.replace(&part, &dst);
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
        Err(e) if e.kind() == io::ErrorKind::StorageFull => {
            Err(QuantizeError::NoRoom { needed, free })
        }
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
