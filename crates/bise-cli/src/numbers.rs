//! Numbers on the command line. What is out of range, infinite or no number is refused where it is
//! read, so that the message names the option.

use bise_quantize::Budget;
use bise_serve::sampling::random_seed;
use std::ops::RangeInclusive;

/// What should have stood on the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub &'static str);

fn number(text: &str, range: RangeInclusive<f32>, expected: &'static str) -> Result<f32, Expected> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() && range.contains(&number) => Ok(number),
        _ => Err(Expected(expected)),
    }
}

/// Any number but infinity.
pub fn finite(text: &str) -> Result<f32, Expected> {
    number(text, f32::MIN..=f32::MAX, "a number")
}

/// 0 or more.
pub fn not_negative(text: &str) -> Result<f32, Expected> {
    number(text, 0.0..=f32::MAX, "0 or a positive number")
}

/// More than 0.
pub fn positive(text: &str) -> Result<f32, Expected> {
    number(text, f32::from_bits(1)..=f32::MAX, "a positive number")
}

/// A share or a probability.
pub fn unit(text: &str) -> Result<f32, Expected> {
    number(text, 0.0..=1.0, "a number from 0 to 1")
}

/// A factor that makes nothing smaller.
pub fn from_one(text: &str) -> Result<f32, Expected> {
    number(text, 1.0..=f32::MAX, "a number from 1 on")
}

/// A number of tokens, of which -1 is as many as there are.
pub fn all_or(text: &str) -> Result<usize, Expected> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(usize::MAX),
        Ok(n @ 0..) => Ok(n as usize),
        _ => Err(Expected("a number of tokens, or -1 for all")),
    }
}

/// Among how many tokens to choose: 0, or -1, among all.
pub fn top_k(text: &str) -> Result<usize, Expected> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(0),
        Ok(n @ 0..) => Ok(n as usize),
        _ => Err(Expected("a number of tokens, or 0 for all")),
    }
}

/// A seed; -1 is another one each time.
pub fn seed(text: &str) -> Result<u64, Expected> {
    match text.parse::<u64>() {
        _ if text == "-1" => Ok(random_seed()),
        Ok(seed) => Ok(seed),
        Err(_) => Err(Expected(
            "a whole number from 0 to 2^64 - 1, or -1 for another seed each time",
        )),
    }
}

/// Bytes: K, M, G and T are powers of 1000, KiB and its kin of 1024.
pub fn size(text: &str) -> Result<u64, Expected> {
    match Budget::from_size(text) {
        Ok(Budget::Bytes(bytes)) => Ok(bytes),
        _ => Err(Expected(
            "a number of bytes, with K, M, G, T, or KiB, MiB, GiB, TiB",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_numbers_in_range() {
        for parse in [finite, not_negative, positive, unit, from_one] {
            for text in ["nan", "-nan", "inf", "-inf", "infinity", "1e39", "", "x", "0x1"] {
                assert!(parse(text).is_err(), "{text}");
            }
            assert_eq!(parse("1"), Ok(1.0));
        }
        assert_eq!(finite("-2.5"), Ok(-2.5));
        assert!(not_negative("-0.1").is_err() && unit("1.01").is_err());
        assert!(positive("0").is_err() && from_one("0.99").is_err());
        assert_eq!((all_or("-1"), all_or("7")), (Ok(usize::MAX), Ok(7)));
        assert_eq!((top_k("-1"), top_k("0")), (Ok(0), Ok(0)));
        assert!(all_or("-2").is_err() && top_k("-2").is_err() && seed("-2").is_err());
        assert_eq!((size("1.5K"), size("2MiB")), (Ok(1500), Ok(2 << 20)));
        assert!(size("0").is_err() && size("-1").is_err() && size("1X").is_err());
        assert_ne!(seed("-1"), seed("-1"));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
    }
}
