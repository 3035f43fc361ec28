//! Models split into several GGUF files, as llama.cpp's `gguf-split` writes them.
//!
//! ```text
//! model-00001-of-00003.gguf   split.no 0   split.count 3   split.tensors.count n   all other metadata, some tensors
//! model-00002-of-00003.gguf   split.no 1   split.count 3   split.tensors.count n   more tensors
//! ```

use super::{GgufError, Metadata};
use std::fmt;

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// What a file says of the split that it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Which part, from 0.
    pub number: u32,
    /// How many parts.
    pub count: u32,
    /// Tensors in all parts.
    pub tensors: Option<u64>,
}

impl Split {
    /// What `metadata` say; `None` for a file that is whole.
    ///
    /// # Errors
    /// When a key is of another type, or the number is not below the count.
    pub fn from_metadata(metadata: &Metadata) -> Result<Option<Self>, GgufError> {
        let count = metadata.u32(COUNT)?.unwrap_or(0);
        let number = metadata.u32(NUMBER)?.unwrap_or(0);
        if number >= count.max(1) {
            return Err(GgufError::OutOfRange {
                key: NUMBER.to_owned(),
                expected: "the numbers below split.count",
                found: format!("{number} of {count}"),
            });
        }
        let tensors = metadata.u64(TENSORS)?;
        Ok((count > 1).then_some(Self {
            number,
            count,
            tensors,
        }))
    }

    /// Whether a metadata key speaks of the split, not of the model.
    pub fn is_key(key: &str) -> bool {
        key.starts_with("split.")
    }
}

/// The name of a part: `PREFIX-00002-of-00003.gguf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartName<'a> {
    prefix: &'a str,
    /// Which part, from 0.
    pub number: u32,
    /// How many parts.
    pub count: u32,
    suffix: &'a str,
}

impl<'a> PartName<'a> {
    /// Takes a file's name apart; `None` for one that names no part.
    pub fn parse(name: &'a str) -> Option<Self> {
        let stem_len = name.len().checked_sub(".gguf".len())?;
        let (stem, suffix) = name.split_at_checked(stem_len)?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
        let good = suffix.eq_ignore_ascii_case(".gguf") && digits(count) && digits(number);
        let (number, count) = (number.parse::<u32>().ok()?, count.parse::<u32>().ok()?);
        (good && (1..=count).contains(&number)).then(|| Self {
            prefix,
            number: number - 1,
            count,
            suffix,
        })
    }

    /// The name of another part.
    pub fn sibling(&self, number: u32) -> Self {
        Self {
            number,
            ..self.clone()
        }
    }
}

impl fmt::Display for PartName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            prefix,
            number,
            count,
            suffix,
        } = self;
        write!(f, "{prefix}-{:05}-of-{count:05}{suffix}", number + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let name = PartName::parse("a-b-00002-of-00003.gguf").unwrap();
        assert_eq!((name.number, name.count), (1, 3));
        assert_eq!(name.to_string(), "a-b-00002-of-00003.gguf");
        assert_eq!(name.sibling(2).to_string(), "a-b-00003-of-00003.gguf");
        assert_eq!(
            PartName::parse("-00100-of-100000.GGUF").unwrap().number,
            99,
            "more digits than five"
        );
        for other in [
            "a.gguf",
            "a-00000-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "a-2-of-3.gguf",
            "a-0000x-of-00003.gguf",
            "a-00001-of-99999999999.gguf",
            "-of-.gguf",
            "00001-of-00003.gguf",
            "a-00001-of-00003.bin!",
            "\u{e9}guf",
            "",
        ] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_metadata_say() {
        let read = |number: Option<u32>, count: Option<u32>| {
            let mut metadata = Metadata::new();
            number.map(|n| metadata.insert(NUMBER, n));
            count.map(|n| metadata.insert(COUNT, n));
            Split::from_metadata(&metadata).map(|split| split.map(|s| (s.number, s.count)))
        };
        assert_eq!(read(None, None).unwrap(), None);
        assert_eq!(read(Some(0), Some(1)).unwrap(), None);
        assert_eq!(read(Some(0), Some(0)).unwrap(), None);
        assert_eq!(read(None, Some(2)).unwrap(), Some((0, 2)));
        assert_eq!(read(Some(1), Some(2)).unwrap(), Some((1, 2)));
        assert!(read(Some(2), Some(2)).is_err());
        assert!(read(Some(1), None).is_err());
    }
}
