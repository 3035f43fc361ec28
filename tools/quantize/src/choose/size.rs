//! How large a file may be.

use crate::error::OptionError;
use std::fmt;
use std::str::FromStr;

/// How large a file may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Bytes of the whole file.
    Bytes(u64),
    /// Bits for each weight, over all tensors.
    BitsPerWeight(f64),
}

impl Budget {
    /// A size such as `4.0G`: K, M, G and T are powers of 1000, KiB and its kin of 1024.
    ///
    /// # Errors
    /// When it is no positive number with such a unit.
    pub fn from_size(text: &str) -> Result<Self, OptionError> {
        let bad = || {
            OptionError(format!(
                "`{text}` is no size; expected a number with K, M, G, T, or KiB, MiB, GiB, TiB"
            ))
        };
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1024.0 * 1024.0,
            "gib" => 1024.0 * 1024.0 * 1024.0,
            "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return Err(bad()),
        };
        let bytes = f64::from_str(number).map_err(|_| bad())? * factor;
        if bytes >= 1.0 && bytes < i64::MAX as f64 {
            Ok(Self::Bytes(bytes as u64))
        } else {
            Err(bad())
        }
    }

    /// Bits for each weight.
    ///
    /// # Errors
    /// When it is no positive number.
    pub fn from_bits(text: &str) -> Result<Self, OptionError> {
        let bits = f64::from_str(text)
            .ok()
            .filter(|bits| *bits > 0.0 && bits.is_finite());
        bits.map(Self::BitsPerWeight)
            .ok_or_else(|| OptionError(format!("`{text}` is no number of bits")))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "a file of {bytes} bytes"),
            Self::BitsPerWeight(bits) => write!(f, "{bits:.4} bits per weight"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sizes_parse_without_panics(text in ".{0,12}") {
            let _ = Budget::from_size(&text);
            let _ = Budget::from_bits(&text);
        }
    }

    #[test]
    fn sizes_parse() {
        for (text, bytes) in [
            ("4.0G", 4_000_000_000),
            ("4GiB", 4 << 30),
            ("1.5m", 1_500_000),
            ("700 kB", 700_000),
            ("12", 12),
        ] {
            assert_eq!(Budget::from_size(text), Ok(Budget::Bytes(bytes)), "{text}");
        }
        for text in ["", "G", "-4G", "4X", "0", "1e30", "..", "99999999999T"] {
            assert!(Budget::from_size(text).is_err(), "{text}");
        }
        assert_eq!(Budget::from_bits("4.5"), Ok(Budget::BitsPerWeight(4.5)));
        assert!(Budget::from_bits("NaN").is_err() && Budget::from_bits("0").is_err());
    }
}
