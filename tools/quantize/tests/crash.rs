//! Stopped, or out of room: the next run goes on and gives the same bytes, or nothing is left.

mod directory;
mod jobs;
mod stopping;

use bise_format::full_text;
use bise_quantize::{Options, Progress, QuantizeError, Silent, Target, quantize};
use jobs::{names, resume, source, undisturbed};
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use stopping::StopAfter;
use tempfile::TempDir;

fn options(target: &str) -> Options {
    Options {
        threads: Some(2),
        ..Options::new(Target::from_name(target).unwrap())
    }
}

const LEFT: [&str; 2] = [".out.gguf.bise-journal", ".out.gguf.bise-part"];

/// A directory in which a run has been stopped after `slabs` slabs.
fn stopped(src: &Path, options: &Options, slabs: u32) -> (TempDir, PathBuf) {
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    fs::write(&dst, "old").unwrap();
    let error = quantize(src, &dst, options, &StopAfter(Cell::new(slabs))).unwrap_err();
    assert!(matches!(error, QuantizeError::Stopped), "{error}");
    assert_eq!(fs::read(&dst).unwrap(), b"old");
    assert_eq!(names(out.path())[..2], LEFT);
    (out, dst)
}

#[test]
fn stopped_anywhere_it_goes_on_with_any_number_of_threads() {
    let src = source();
    let options = options("Q4_0");
    let expected = undisturbed(src.path(), &options);
    for (slabs, threads) in [(1, 1), (2, 3), (7, 2), (13, 4), (19, 1)] {
        let (_out, dst) = stopped(src.path(), &options, slabs);
        let options = Options {
            threads: Some(threads),
            ..options.clone()
        };
        let notes = resume(src.path(), &dst, &options, &expected);
        assert!(notes.contains("went on after"), "{notes}");
    }
}

#[test]
fn what_does_not_match_the_journal_is_made_anew() {
    let src = source();
    let options = options("Q8_0");
    let expected = undisturbed(src.path(), &options);
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage, bool); 7] = [
        (LEFT[1], |part| part[100_000] ^= 1, false),
        (LEFT[1], |part| part[3_000_000] ^= 128, true),
        (LEFT[1], |part| part.truncate(1_000_000), true),
        (LEFT[1], Vec::clear, false),
        (LEFT[0], |journal| journal.truncate(48 + 32 * 5 + 11), true),
        (LEFT[0], |journal| journal[48 + 32 * 4 + 7] ^= 4, true),
        (LEFT[0], |journal| journal.truncate(20), false),
    ];
    for (i, (name, damage, goes_on)) in damages.into_iter().enumerate() {
        let (out, dst) = stopped(src.path(), &options, 10);
        let path = out.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let notes = resume(src.path(), &dst, &options, &expected);
        assert_eq!(notes.contains("went on after"), goes_on, "damage {i}: {notes}");
    }
}

#[test]
fn another_job_begins_anew() {
    let src = source();
    let (out, dst) = stopped(src.path(), &options("Q8_0"), 10);
    let expected = undisturbed(src.path(), &options("Q4_0"));
    let notes = resume(src.path(), &dst, &options("Q4_0"), &expected);
    assert!(notes.contains("other options"), "{notes}");
    drop(out);

    // The same names and sizes, other weights.
    let (_out, dst) = stopped(src.path(), &options("Q8_0"), 10);
    let weights = src.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 128;
    std::thread::sleep(Duration::from_millis(20));
    fs::write(&weights, bytes).unwrap();
    let expected = undisturbed(src.path(), &options("Q8_0"));
    let notes = resume(src.path(), &dst, &options("Q8_0"), &expected);
    assert!(notes.contains("another source"), "{notes}");
}

/// Tries to write the same file while it is being written.
struct Intruder<'a>(&'a Path, &'a Path);

impl Progress for Intruder<'_> {
    fn start(&self, _: u64) {}
    fn advance(&self, _: u64) {
        let error = quantize(self.0, self.1, &options("Q8_0"), &Silent).unwrap_err();
        assert!(
            full_text(&error).contains("another program is writing it"),
            "{error}"
        );
    }
    fn finish(&self) {}
}

#[test]
fn two_runs_do_not_write_one_file() {
    let src = source();
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    quantize(src.path(), &dst, &options("Q8_0"), &Intruder(src.path(), &dst)).unwrap();
    assert!(fs::read(&dst).unwrap() == undisturbed(src.path(), &options("Q8_0")));
}

/// A file system of its own, gone when dropped.
struct Disk(TempDir);

impl Disk {
    /// Of ext2 on 2 MiB: no room can be taken there in advance. `None` where mounting is not
    /// possible.
    fn ext2() -> Option<Self> {
        let image = TempDir::new().unwrap();
        let file = image.path().join("image");
        fs::write(&file, vec![0; 6 << 20]).unwrap();
        let made = Command::new("mkfs.ext2")
            .args(["-q", "-m", "0", "-b", "1024"])
            .arg(&file)
            .status();
        made.is_ok_and(|status| status.success()).then_some(())?;
        Self::mount(&["-o", "loop"], &file)
    }

    /// Of 2 MiB in memory.
    fn tmpfs() -> Option<Self> {
        Self::mount(&["-t", "tmpfs", "-o", "size=2m"], Path::new("none"))
    }

    fn mount(options: &[&str], what: &Path) -> Option<Self> {
        let at = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(options).arg(what).arg(at.path()).stderr(Stdio::null());
        mount
            .status()
            .is_ok_and(|status| status.success())
            .then(|| Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_too_small_is_found_at_once() {
    let Some(disk) = Disk::tmpfs() else {
        eprintln!("skipped: this user cannot mount a file system");
        return;
    };
    let src = source();
    let dst = disk.0.path().join("out.gguf");
    fs::write(&dst, "old").unwrap();
    let error = quantize(src.path(), &dst, &options("Q8_0"), &Silent).unwrap_err();
    assert!(matches!(error, QuantizeError::DiskFull { .. }), "{error}");
    let text = full_text(&error);
    assert!(
        text.contains("out.gguf: the disk is full: ") && text.contains(" free"),
        "{text}"
    );
    assert_eq!(fs::read(&dst).unwrap(), b"old");
    assert_eq!(names(disk.0.path()), ["out.gguf"]);
}

/// Fills the disk when the work has begun.
struct Filler<'a>(&'a Path, Cell<bool>);

impl Progress for Filler<'_> {
    fn start(&self, _: u64) {}
    fn advance(&self, _: u64) {
        if !self.1.replace(true) {
            let mut file = fs::File::create(self.0).unwrap();
            while file.write_all(&[1; 1024]).is_ok() {}
        }
    }
    fn finish(&self) {}
}

#[test]
fn a_disk_that_fills_up_leaves_everything_as_it_was() {
    let Some(disk) = Disk::ext2() else {
        eprintln!("skipped: this user cannot make and mount a file system");
        return;
    };
    let src = source();
    let before = fs::read(src.path().join("model.safetensors")).unwrap();
    let (dst, fill) = (disk.0.path().join("out.gguf"), disk.0.path().join("zzz"));
    fs::write(&dst, "old").unwrap();
    let filler = Filler(&fill, Cell::new(false));
    let error = quantize(src.path(), &dst, &options("Q4_0"), &filler).unwrap_err();
    assert!(filler.1.get(), "there was room at first: {error}");
    assert!(full_text(&error).contains("No space left"), "{error}");
    assert_eq!(fs::read(&dst).unwrap(), b"old");
    assert_eq!(names(disk.0.path()), ["lost+found", "out.gguf", "zzz"]);
    assert!(fs::read(src.path().join("model.safetensors")).unwrap() == before);
}
