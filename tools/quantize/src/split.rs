//! Models split into several GGUF files: `NAME-00001-of-00003.gguf` and so on, the first with the metadata.

use crate::error::QuantizeError;
use bise_tensor::gguf::Gguf;
use bise_tensor::mmap::FileBytes;
use std::path::Path;

/// What lies around the number in the name of a part: `NAME` and the count's digits.
pub(crate) fn stem(name: &str) -> Option<(&str, &str)> {
    let digits = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    (digits(number) && digits(count)).then_some((stem, count))
}

/// The file at `path`, or, when it is one part of several, all of them in order.
pub(crate) fn open(path: &Path) -> Result<Vec<(Gguf, FileBytes)>, QuantizeError> {
    let first = open_part(path)?;
    let count = first
        .0
        .metadata
        .u32("split.count")
        .map_err(|e| QuantizeError::gguf(path, e))?
        .unwrap_or(1);
    if count <= 1 {
        return Ok(vec![first]);
    }
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some((stem, digits)) = stem(name).filter(|(_, digits)| digits.parse() == Ok(count)) else {
        let what = format!(
            "part of a model in {count} files, whose names should end in -00001-of-{count:05}.gguf and so on"
        );
        return Err(QuantizeError::unsupported(path, what));
    };
    let mut parts = Vec::new();
    for number in 0..count {
        let path = path.with_file_name(format!("{stem}-{:05}-of-{digits}.gguf", number + 1));
        let part = open_part(&path)?;
        let wrong = |e| QuantizeError::gguf(&path, e);
        let found = part.0.metadata.u32("split.no").map_err(wrong)?.unwrap_or(0);
        let of = part.0.metadata.u32("split.count").map_err(wrong)?.unwrap_or(1);
        if (found, of) != (number, count) {
            let what = format!("it says that it is part {found} of {of}, expected part {number} of {count}");
            return Err(QuantizeError::unsupported(&path, what));
        }
        parts.push(part);
    }
    let found: u64 = parts.iter().map(|(gguf, _)| gguf.tensors.len() as u64).sum();
    let expected = parts[0]
        .0
        .metadata
        .u64("split.tensors.count")
        .map_err(|e| QuantizeError::gguf(path, e))?;
    match expected.filter(|expected| *expected != found) {
        None => Ok(parts),
        Some(expected) => {
            let what = format!("the {count} files have {found} tensors, expected {expected}");
            Err(QuantizeError::unsupported(path, what))
        }
    }
}

fn open_part(path: &Path) -> Result<(Gguf, FileBytes), QuantizeError> {
    let file = FileBytes::map(path).map_err(|e| QuantizeError::io(path, e))?;
    let gguf = Gguf::parse(&file).map_err(|e| QuantizeError::gguf(path, e))?;
    Ok((gguf, file))
}
