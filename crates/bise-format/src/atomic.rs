//! Files that appear whole or not at all.

mod claim;
mod lock;
mod sole;
mod unfinished;

pub use claim::{ClaimError, claim};
pub use sole::Sole;
pub use unfinished::Unfinished;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file: `fill` writes to a temporary file beside `path`, which is synced and renamed to
/// `path`.
///
/// When `fill` fails or panics, or anything else does, the temporary file is gone and `path` as it
/// was. A symbolic link is followed: the file it names is replaced.
///
/// # Errors
/// When `path` is no place for a regular file, `fill` fails, or writing fails.
pub fn write_atomic<T, E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let path = destination(path)?;
    let directory = parent(&path);
    let temporary = new_temporary(&path, directory).map_err(reason)?;
    let result = fill_file(temporary.reopen().map_err(reason)?, fill)?;
    temporary.persist(&path).map_err(|e| reason(e.error))?;
    sync_directory(directory)?;
    Ok(result)
}

/// Writes what `fill` does to `file`, all of it to the disk.
fn fill_file<T, E: From<io::Error>>(
    file: File,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let result = fill(&mut out)?;
    out.flush()?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(result)
}

/// An error of a temporary file without the name of that file, which the user has never heard of.
fn reason(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => error.kind().into(),
    }
}

/// The file to be replaced or made.
fn destination(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => fs::canonicalize(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the destination is not a regular file",
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.file_name().is_some() => {
            Ok(path.to_owned())
        }
        Err(e) => Err(e),
    }
}

/// The directory that `path` is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// What is made beside `path` for `what`: `.NAME.bise-WHAT`.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".bise-{what}"));
    path.with_file_name(name)
}

/// A file that is deleted on drop, readable by those that the process's umask lets.
fn new_temporary(path: &Path, directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

/// Makes the rename last: on Unix it is a change of the directory.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn replaces_whole_or_leaves_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let failed = write_atomic(&path, |out| {
            out.write_all(b"half")?;
            out.flush()?;
            Err::<(), _>(io::Error::other("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        let panicked = std::panic::catch_unwind(|| {
            write_atomic(&path, |_| -> io::Result<()> { panic!("in the middle") })
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["file"]);

        assert_eq!(
            write_atomic(&path, |out| out.write_all(b"new").map(|()| 7)).unwrap(),
            7
        );
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn refuses_what_cannot_be_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let refused =
            |path: &Path| write_atomic(path, |_| -> io::Result<()> { unreachable!() }).is_err();
        assert!(refused(directory.path()));
        assert!(refused(&directory.path().join("absent/file")));
        assert!(refused(Path::new("")));
        assert!(refused(Path::new("/")));
    }

    #[cfg(unix)]
    #[test]
    fn follows_links_and_honours_the_umask() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, "old").unwrap();
        let plain = fs::metadata(&target).unwrap().permissions().mode();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_atomic(&link, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode(), plain);
    }
}
