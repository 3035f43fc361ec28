//! Why there is no model at a path: what people have on disk when a name or a download is not what
//! they think.
//!
//! Everything is told from names and first bytes. Each message is a line with the problem, and one
//! with the cure.

mod absent;
mod evidence;
mod folder;

pub(crate) use evidence::{UNFINISHED, start_of};

use crate::error::OpenError;
use crate::foreign::Foreign;
use std::io;
use std::path::Path;

/// Refuses a path that shows from outside to be no model, and says what it is and what to do.
///
/// # Errors
/// When nothing is there, or something else than a model: a pointer, an archive, a cache, an
/// adapter and the like.
pub fn locate(src: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(src) {
        Ok(found) if found.is_dir() => folder::check(src),
        Ok(_) => file(src),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(absent::error(src))
        }
        Err(error) => Err(OpenError::io(src, error)),
    }
}

/// A file that is given as a model: GGUF, and nothing else.
fn file(src: &Path) -> Result<(), OpenError> {
    let name = src
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    if UNFINISHED.iter().any(|end| name.ends_with(end)) {
        let cure = "let the command that downloads it go on to the end";
        return Err(OpenError::misplaced(src, "an incomplete download", cure));
    }
    let folder = || match src.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => format!("give the folder that it lies in: {}", parent.display()),
        None => "give the folder that it lies in: .".to_owned(),
    };
    let start = start_of(src)?;
    match Foreign::of(&start) {
        Some(Foreign::Gguf) => Ok(()),
        Some(Foreign::Safetensors) => {
            let problem = "a single file of safetensors, without the configuration";
            Err(OpenError::misplaced(src, problem, folder()))
        }
        Some(source) => Err(OpenError::Foreign {
            path: src.to_owned(),
            source,
        }),
        None if name.ends_with(".json") || name.starts_with("tokenizer.model") => {
            Err(OpenError::misplaced(src, "a part of a model's folder", folder()))
        }
        None => Ok(()),
    }
}
