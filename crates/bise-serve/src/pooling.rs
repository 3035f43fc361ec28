//! How a model's file says that embeddings are made.

use crate::request::Pooling;
use bise_format::gguf::{GgufError, Metadata};

impl Pooling {
    /// What the key `<architecture>.pooling_type` says; `None` where it says nothing.
    ///
    /// # Errors
    /// When it is no number, or one of another way.
    pub fn of_metadata(metadata: &Metadata) -> Result<Option<Self>, GgufError> {
        let architecture = metadata.str("general.architecture")?.unwrap_or("llama");
        let key = format!("{architecture}.pooling_type");
        match metadata.u64(&key)? {
            None | Some(0) => Ok(None),
            Some(1) => Ok(Some(Self::Mean)),
            Some(2) => Ok(Some(Self::Cls)),
            Some(3) => Ok(Some(Self::Last)),
            Some(other) => Err(GgufError::OutOfRange {
                key,
                expected: "1 (mean), 2 (cls) or 3 (last)",
                found: other.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_how_embeddings_are_made() {
        let with = |number: Option<u32>| {
            let mut metadata = Metadata::new();
            metadata.insert("general.architecture", "llama");
            number.map(|number| metadata.insert("llama.pooling_type", number));
            Pooling::of_metadata(&metadata).map_err(|error| error.to_string())
        };
        for (number, expected) in [
            (None, None),
            (Some(0), None),
            (Some(1), Some(Pooling::Mean)),
            (Some(2), Some(Pooling::Cls)),
            (Some(3), Some(Pooling::Last)),
        ] {
            assert_eq!(with(number), Ok(expected));
        }
        let error = with(Some(4)).unwrap_err();
        assert!(
            error.contains("llama.pooling_type") && error.contains("1 (mean)"),
            "{error}"
        );
    }
}
