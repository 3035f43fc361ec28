//! Whether a path may be written: tried before the work starts, and held against all that is read.

use super::{beside, destination, parent, reason};
use crate::gguf::PartName;
use same_file::Handle;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Folders in a model's folder are looked into so deep.
const DEPTH: usize = 4;

/// How the names of PEFT's files begin, which are read together.
const ADAPTER: [&str; 2] = ["adapter_config.", "adapter_model."];

/// Why a path cannot be written. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It is what the same command reads.
    #[error(
        "cannot write {}: it is the same file as {}, which this command reads; name another file to write",
        .output.display(), .input.display()
    )]
    IsInput {
        /// The path to be written.
        output: PathBuf,
        /// The file that is read.
        input: PathBuf,
    },
    /// The folder that it would be in is not there.
    #[error(
        "cannot write {}: there is no folder {}; make it first, or name a file in another one",
        .output.display(), .folder.display()
    )]
    NoFolder {
        /// The path to be written.
        output: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// It is a folder.
    #[error("cannot write {}: it is a folder; name a file in it", .0.display())]
    Folder(PathBuf),
    /// It is there and may not be changed.
    #[error("cannot write {}: the file is there and read-only; name another file, or make it writable", .0.display())]
    ReadOnly(PathBuf),
    /// It cannot be written for another reason.
    #[error("cannot write {}", .output.display())]
    Io {
        /// The path to be written.
        output: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Finds out whether a file can be written at `output` while `inputs` are read: files, any parts of
/// split ones, or folders of models and adapters. Called before the work, so that nobody waits for an error;
/// what is at `output` stays as it is.
///
/// Files are told apart by what they are, not by their names: links and other spellings make no
/// difference.
///
/// # Errors
/// When `output` is one of the inputs, or no file can be written there.
pub fn claim(output: &Path, inputs: &[&Path]) -> Result<(), ClaimError> {
    let file = try_place(output)?;
    let made_beside = ["part", "journal", "lock"].map(|what| beside(&file, what));
    for path in [output]
        .into_iter()
        .chain(made_beside.iter().map(PathBuf::as_path))
    {
        if let Some(input) = same_as(path, inputs) {
            let output = path.to_owned();
            return Err(ClaimError::IsInput { output, input });
        }
    }
    Ok(())
}

fn io_error(output: &Path, source: io::Error) -> ClaimError {
    let output = output.to_owned();
    ClaimError::Io { output, source }
}

/// The file that writing `output` makes or replaces, if that can be done.
fn try_place(output: &Path) -> Result<PathBuf, ClaimError> {
    let names_folder = output
        .as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|&last| std::path::is_separator(char::from(last)));
    if output.is_dir() || names_folder {
        return Err(ClaimError::Folder(output.to_owned()));
    }
    let folder = parent(output);
    if !folder.is_dir() {
        return Err(ClaimError::NoFolder {
            output: output.to_owned(),
            folder: folder.to_owned(),
        });
    }
    let file = destination(output).map_err(|reason| io_error(output, reason))?;
    if fs::metadata(&file).is_ok_and(|found| found.permissions().readonly()) {
        return Err(ClaimError::ReadOnly(output.to_owned()));
    }
    // Only making a file tells whether one can be made.
    let made = tempfile::Builder::new()
        .prefix(".bise")
        .tempfile_in(parent(&file));
    made.map_err(|error| io_error(output, reason(error)))?;
    Ok(file)
}

/// The file among `inputs` that `path` is.
fn same_as(path: &Path, inputs: &[&Path]) -> Option<PathBuf> {
    let handle = regular(path)?;
    let same = |other: &PathBuf| regular(other).is_some_and(|other| other == handle);
    inputs
        .iter()
        .find_map(|input| files(input).into_iter().find(same))
}

/// What tells the regular file at `path` from others. Anything else is not opened: that might take
/// away what a pipe holds.
fn regular(path: &Path) -> Option<Handle> {
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    is_file.then(|| Handle::from_path(path).ok())?
}

/// The files that reading `input` may read.
fn files(input: &Path) -> Vec<PathBuf> {
    if input.is_dir() {
        let mut found = Vec::new();
        let is_model = ["config.json", "params.json"]
            .iter()
            .any(|name| input.join(name).exists());
        collect(input, DEPTH, &mut found);
        found.retain(|path| !(is_model && is_result(path)));
        return found;
    }
    let name = input.file_name().and_then(|name| name.to_str());
    let of_adapter = |name: &str| ADAPTER.iter().any(|start| name.starts_with(start));
    if name.is_some_and(of_adapter) {
        let mut found = Vec::new();
        collect(parent(input), 1, &mut found);
        found.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(of_adapter)
        });
        return found;
    }
    let part = name.and_then(PartName::parse);
    let others = part.into_iter().flat_map(|part| {
        let parts = (0..part.count).map(move |n| part.sibling(n).to_string());
        parts
            .map(|name| input.with_file_name(name))
            .take_while(|path| path.exists())
    });
    [input.to_owned()].into_iter().chain(others).collect()
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.is_dir() {
            found.push(path);
        } else if depth > 1 {
            collect(&path, depth - 1, found);
        }
    }
}

/// Whether the file in the folder of a model is what was made of it, and no part of it: in GGUF, a
/// session, or logits, which are safetensors under another name than weights have.
fn is_result(path: &Path) -> bool {
    let mut start = [0; 12];
    let read = File::open(path).and_then(|mut file| file.read(&mut start));
    let logits = &start[8..10] == b"{\"" && path.extension().is_none_or(|end| end != "safetensors");
    read.is_ok() && (start.starts_with(b"GGUF") || start == *b"bise session" || logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(output: &Path, inputs: &[&Path]) -> String {
        crate::full_text(&claim(output, inputs).expect_err("refused"))
    }

    #[test]
    fn finds_inputs_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (input, hard) = (at("input"), at("hard"));
        fs::write(&input, "precious").unwrap();
        fs::hard_link(&input, &hard).unwrap();
        fs::create_dir(at("deep")).unwrap();
        let mut names = vec![input.clone(), hard, at("deep/../input"), at("./input")];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("input", at("soft")).unwrap();
            names.push(at("soft"));
        }
        for name in &names {
            let error = refused(name, &[&at("other"), &input]);
            for path in [name, &input] {
                assert!(error.contains(&path.display().to_string()), "{error}");
            }
        }
        claim(&at("new"), &[&input]).unwrap();
        assert!(
            fs::read_dir(folder.path())
                .unwrap()
                .all(|e| e.unwrap().file_name() != "new")
        );
    }

    #[test]
    fn finds_parts_and_files_of_folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let parts = [1, 2, 3].map(|n| at(&format!("m-0000{n}-of-00003.gguf")));
        parts.iter().for_each(|part| fs::write(part, "GGUF").unwrap());
        assert!(claim(&parts[2], &[&parts[0]]).is_err());
        // In a folder without a model of its own, files in GGUF are the model.
        assert!(claim(&parts[1], &[folder.path()]).is_err());
        fs::create_dir(at("more")).unwrap();
        for name in ["config.json", "more/chat.jinja"] {
            fs::write(at(name), "{}").unwrap();
            assert!(claim(&at(name), &[folder.path()]).is_err());
        }
        claim(&parts[1], &[folder.path()]).unwrap();
        let adapter = ["adapter_config.json", "adapter_model.safetensors"].map(at);
        adapter.iter().for_each(|file| fs::write(file, "{}").unwrap());
        assert!(claim(&adapter[0], &[&adapter[1]]).is_err());
        let safetensors = b"\x40\0\0\0\0\0\0\0{\"logits\": {}}";
        for (name, is_input) in [("logits.bin", false), ("model.safetensors", true)] {
            fs::write(at(name), safetensors).unwrap();
            assert_eq!(claim(&at(name), &[folder.path()]).is_err(), is_input, "{name}");
        }
    }

    #[test]
    fn the_work_beside_it_is_no_input_either() {
        let folder = tempfile::tempdir().unwrap();
        let [part, output] = [".m.gguf.bise-part", "m.gguf"].map(|name| folder.path().join(name));
        fs::write(&part, "GGUF").unwrap();
        assert!(refused(&output, &[&part]).contains("bise-part"));
    }

    #[test]
    fn says_what_is_no_place_for_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        assert!(refused(folder.path(), &[]).contains("it is a folder"));
        assert!(refused(&at("new/"), &[]).contains("it is a folder"));
        assert!(refused(&at("absent/file"), &[]).contains("there is no folder"));
        assert!(refused(&at("file/file"), &[]).contains("there is no folder"));
        assert!(claim(Path::new(""), &[]).is_err());
        let mut permissions = fs::metadata(at("file")).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(at("file"), permissions).unwrap();
        assert!(refused(&at("file"), &[]).contains("read-only"));
        assert!(!refused(&at("absent/file"), &[]).contains(".file."));
    }
}
