//! Files that one program at a time uses.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

/// Opens the file at `path`, which is made if need be; it keeps what it holds.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let options = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .to_owned();
    let file = options.open(path)?;
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        let what = format!("{} is not a regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(file)
}

/// The file at `path`, locked.
pub(super) fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another program is writing it at this moment",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Its owner may have removed it between our opening and our locking it.
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

/// Whether `file` is the regular file at `path`, not one that a link there leads to.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let opened = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => {
            Ok(found.is_file() && (found.dev(), found.ino()) == (opened.dev(), opened.ino()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path).is_ok_and(|found| found.is_file()))
}
