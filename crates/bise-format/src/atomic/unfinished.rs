//! Files that take long to write: what is there survives the end of the program, for the next run
//! to go on from.
//!
//! ```text
//! DIRECTORY/.NAME.bise-part      the file so far
//! DIRECTORY/.NAME.bise-journal   what the writer needs in order to trust it; locked while a program writes
//! ```

use super::lock::{locked, open};
use super::{beside, destination, parent, sync_directory};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A file in the making, for this program alone. Dropped, it stays as it is for the next run.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    part_path: PathBuf,
    journal_path: PathBuf,
    part: File,
    journal: File,
}

impl Unfinished {
    /// What was left of writing `path`, or two empty files.
    ///
    /// A symbolic link is followed: the file it names is to be replaced.
    ///
    /// # Errors
    /// When `path` is no place for a regular file, another program is writing it
    /// ([`io::ErrorKind::ResourceBusy`]), or the two files cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = destination(path)?;
        let (part_path, journal_path) = (beside(&path, "part"), beside(&path, "journal"));
        let journal = locked(&journal_path)?;
        let part = open(&part_path).inspect_err(|_| {
            let _ = fs::remove_file(&journal_path);
        })?;
        Ok(Self {
            path,
            part_path,
            journal_path,
            part,
            journal,
        })
    }

    /// The file so far.
    pub fn part(&self) -> &File {
        &self.part
    }

    /// Where the file so far is.
    pub fn part_path(&self) -> &Path {
        &self.part_path
    }

    /// What belongs to it.
    pub fn journal(&self) -> &File {
        &self.journal
    }

    /// The file is complete: syncs it and gives it its name.
    ///
    /// # Errors
    /// When that fails; the part stays.
    pub fn publish(self) -> io::Result<()> {
        self.part.sync_all()?;
        fs::rename(&self.part_path, &self.path)?;
        fs::remove_file(&self.journal_path)?;
        sync_directory(parent(&self.path))
    }

    /// Removes both files.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.part_path)?;
        fs::remove_file(&self.journal_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn goes_on_where_it_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let first = Unfinished::open(&path).unwrap();
        first.part().write_all(b"half").unwrap();
        first.journal().write_all(b"4").unwrap();
        let busy = Unfinished::open(&path).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        drop(first);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let second = Unfinished::open(&path).unwrap();
        let mut held = String::new();
        second.part().read_to_string(&mut held).unwrap();
        second.journal().read_to_string(&mut held).unwrap();
        assert_eq!(held, "half4");
        second.part().seek(io::SeekFrom::End(0)).unwrap();
        second.part().write_all(b" and half").unwrap();
        second.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"half and half");
        assert_eq!(count(directory.path()), 1);
    }

    #[test]
    fn discarded_it_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        Unfinished::open(&path).unwrap().discard().unwrap();
        assert_eq!(count(directory.path()), 0);
        assert!(Unfinished::open(directory.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn does_not_write_where_a_link_leads() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("file"), directory.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        for what in ["part", "journal"] {
            std::os::unix::fs::symlink(&victim, beside(&path, what)).unwrap();
            assert!(Unfinished::open(&path).is_err());
            fs::remove_file(beside(&path, what)).unwrap();
        }
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }
}
