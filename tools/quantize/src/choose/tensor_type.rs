//! What the user says of the types of some tensors.

use crate::choose::types;
use crate::error::OptionError;
use bise_kernels::block::DType;
use regex::{Regex, RegexBuilder};
use std::fmt;
use std::str::FromStr;

/// The type of tensors whose names match a pattern.
#[derive(Clone, Debug)]
pub struct TensorType {
    pattern: Regex,
    dtype: DType,
}

impl FromStr for TensorType {
    type Err = OptionError;

    /// Parses `PATTERN=TYPE`; the pattern is a regular expression that is looked for anywhere in a
    /// name, in any case.
    fn from_str(text: &str) -> Result<Self, OptionError> {
        let bad = |what: &str| OptionError(what.to_owned());
        let (pattern, dtype) = text
            .rsplit_once('=')
            .ok_or_else(|| bad("expected PATTERN=TYPE"))?;
        if pattern.is_empty() {
            return Err(bad("expected a pattern before `=`"));
        }
        let pattern = RegexBuilder::new(pattern).case_insensitive(true).build();
        let pattern = pattern.map_err(|e| bad(&e.to_string()))?;
        let dtype = types::dtype(dtype)?;
        Ok(Self { pattern, dtype })
    }
}

impl TensorType {
    /// Whether it is for tensors of this name.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }

    /// As it was written.
    pub(crate) fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// The type.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_parse_or_say_why_not() {
        let parsed: TensorType = r"\.(\d*[13579])\.ATTN_K=q5_k".parse().unwrap();
        assert_eq!(parsed.dtype, DType::Q5_K);
        assert!(parsed.pattern.is_match("blk.13.attn_k.weight"));
        assert!(!parsed.pattern.is_match("blk.12.attn_k.weight"));
        // A class is what it says, also in capitals.
        let parsed: TensorType = r"blk\.\D=q8_0".parse().unwrap();
        assert!(!parsed.pattern.is_match("blk.1.attn_k.weight"));
        for (text, says) in [
            ("attn_k", "PATTERN=TYPE"),
            ("=q4_k", "before"),
            ("attn_k=q9", "`q9` is no type"),
            (
                "attn_k=iq1_s",
                "IQ1_S is a type that is only read; expected one of F32",
            ),
            ("attn(=q4_k", "unclosed group"),
        ] {
            let error = text.parse::<TensorType>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
