//! Files that a program writes again and again while it runs, and no other program meanwhile.
//!
//! ```text
//! DIRECTORY/.NAME.bise-lock   locked as long as the program runs; the system unlocks it however the program ends
//! DIRECTORY/.NAME.bise-part   the next state, while it is written
//! ```

use super::lock::{locked, open};
use super::{beside, destination, fill_file, parent, sync_directory};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// The right to write a file, of which there is one.
#[derive(Debug)]
pub struct Sole {
    path: PathBuf,
    lock_path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Sole {
    /// The right to write `path`, a file that need not be there yet. What a killed program left
    /// beside it is removed.
    ///
    /// A symbolic link is followed: the file it names is to be replaced.
    ///
    /// # Errors
    /// When `path` is no place for a regular file, another program has the right
    /// ([`io::ErrorKind::ResourceBusy`]), or the folder cannot be written.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = destination(path)?;
        // Another spelling of the folder must lead to the same lock.
        let path = match path.file_name() {
            Some(name) => fs::canonicalize(parent(&path))?.join(name),
            None => path,
        };
        let lock_path = beside(&path, "lock");
        let sole = Self {
            _lock: locked(&lock_path)?,
            lock_path,
            path,
        };
        match fs::remove_file(sole.part_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(sole),
        }
    }

    /// Makes the file what `fill` writes. Until all is on the disk, and when anything fails, it is
    /// as it was.
    ///
    /// # Errors
    /// When `fill` fails, or writing does.
    pub fn write<T, E: From<io::Error>>(
        &self,
        fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
    ) -> Result<T, E> {
        let part_path = self.part_path();
        let written = open(&part_path)
            .and_then(|part| part.set_len(0).map(|()| part))
            .map_err(E::from)
            .and_then(|part| fill_file(part, fill))
            .and_then(|result| Ok(fs::rename(&part_path, &self.path).map(|()| result)?));
        if written.is_err() {
            // The error that led here matters more than one of cleaning up.
            let _ = fs::remove_file(&part_path);
        }
        let result = written?;
        sync_directory(parent(&self.path))?;
        Ok(result)
    }

    fn part_path(&self) -> PathBuf {
        beside(&self.path, "part")
    }
}

impl Drop for Sole {
    fn drop(&mut self) {
        // A lock that stays is taken over by the next program.
        let _ = fs::remove_file(&self.lock_path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn one_program_writes_and_leaves_only_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let sole = Sole::of(&path).unwrap();
        for text in ["a long first state", "second"] {
            sole.write(|out| out.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
        }
        let failed = sole.write(|out| {
            out.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        let other_spelling = folder.path().join("../").join(folder.path()).join("file");
        let busy = Sole::of(&other_spelling).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        drop(sole);
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_program_left_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for what in ["part", "lock"] {
            fs::write(beside(&path, what), "left").unwrap();
        }
        drop(Sole::of(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
