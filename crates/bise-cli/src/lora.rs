//! `--lora`: adapters on the command line.

use crate::messages::note;
use anyhow::Result;
use bise_format::adapter::{Adapter, ScaledAdapter};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

/// An adapter, and what its updates are multiplied by.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    pub path: PathBuf,
    pub scale: f32,
}

/// Reads `FILE[:SCALE]`: what stands behind the last colon is a scale if it is a finite number.
pub fn lora(text: &str) -> Result<Lora, Infallible> {
    let scaled = text.rsplit_once(':').and_then(|(path, scale)| {
        let scale: f32 = scale.parse().ok().filter(|scale: &f32| scale.is_finite())?;
        (!path.is_empty()).then(|| Lora {
            path: path.into(),
            scale,
        })
    });
    Ok(scaled.unwrap_or_else(|| Lora {
        path: text.into(),
        scale: 1.0,
    }))
}

/// The files of `loras`.
pub fn files(loras: &[Lora]) -> impl Iterator<Item = &Path> {
    loras.iter().map(|lora| &*lora.path)
}

/// Opens `loras`, and tells what the user should know.
///
/// # Errors
/// When one cannot be read.
pub fn open(loras: &[Lora]) -> Result<Vec<ScaledAdapter>> {
    let open = |lora: &Lora| {
        let (adapter, notes) = Adapter::open(&lora.path)?;
        notes.iter().for_each(note);
        let scale = lora.scale;
        Ok(ScaledAdapter { adapter, scale })
    };
    loras.iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_stand_behind_the_last_colon() {
        for (text, path, scale) in [
            ("a", "a", 1.0),
            ("a:0.5", "a", 0.5),
            ("a:-2", "a", -2.0),
            ("a:1e-2", "a", 0.01),
            ("a:b", "a:b", 1.0),
            ("a:0.5:2", "a:0.5", 2.0),
            ("a:", "a:", 1.0),
            ("a:nan", "a:nan", 1.0),
            ("a:inf", "a:inf", 1.0),
            ("a:1e99", "a:1e99", 1.0),
            (":2", ":2", 1.0),
            (r"C:\\a", r"C:\\a", 1.0),
        ] {
            let path = path.into();
            assert_eq!(lora(text), Ok(Lora { path, scale }), "{text}");
        }
    }
}
