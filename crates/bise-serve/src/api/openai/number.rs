//! Numbers whose types say their range, and errors that show them as they were written.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{Number, PartialSchema, ToSchema};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: i64, const MAX: i64>(pub i64);

/// A number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Real<const MIN: i64, const MAX: i64>(pub f32);

/// How many tokens: from `MIN` on, or -1 for as many as fit, which is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<const MIN: i64>(pub Option<u64>);

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        let found = whole(written.get()).filter(|n| (MIN..=MAX).contains(n));
        let expected = || format!("expected a whole number from {MIN} to {MAX}");
        found.map(Self).ok_or_else(|| unexpected(&written, &expected()))
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Real<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        let found = real(written.get()).filter(|x| (MIN as f64..=MAX as f64).contains(x));
        let expected = || format!("expected a number from {MIN} to {MAX}");
        found
            .map(|x| Self(x as f32))
            .ok_or_else(|| unexpected(&written, &expected()))
    }
}

impl<'de, const MIN: i64> Deserialize<'de> for Limit<MIN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        match whole(written.get()) {
            Some(-1) => Ok(Self(None)),
            Some(n) if n >= MIN => Ok(Self(u64::try_from(n).ok())),
            _ => {
                let expected =
                    format!("expected a whole number of at least {MIN}, or -1 for as many as fit");
                Err(unexpected(&written, &expected))
            }
        }
    }
}

/// A whole number, also one written as `1.0` or `1e3`.
fn whole(written: &str) -> Option<i64> {
    let as_real = || {
        let x = real(written)?;
        // Up to here all whole numbers are exact.
        (x.fract() == 0.0 && x.abs() <= 9e15).then_some(x as i64)
    };
    written.parse().ok().or_else(as_real)
}

/// A number that JSON knows: `inf` and `nan` are none, and `1e999` is too large.
fn real(written: &str) -> Option<f64> {
    let begins = |c: char| c == '-' || c.is_ascii_digit();
    let x: f64 = written.parse().ok().filter(|_| written.starts_with(begins))?;
    x.is_finite().then_some(x)
}

/// The error that shows what stands there.
pub fn unexpected<E: Error>(written: &RawValue, expected: &str) -> E {
    E::custom(format!("found {}, {expected}", shown(written.get())))
}

/// The beginning of a long text.
pub fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text.to_owned(),
    }
}

fn object(kind: Type, min: i64, max: i64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(kind)
        .minimum(Some(Number::Int(min as isize)))
        .maximum(Some(Number::Int(max as isize)))
}

impl<const MIN: i64, const MAX: i64> PartialSchema for Whole<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        object(Type::Integer, MIN, MAX).into()
    }
}

impl<const MIN: i64, const MAX: i64> PartialSchema for Real<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        object(Type::Number, MIN, MAX).into()
    }
}

impl<const MIN: i64> PartialSchema for Limit<MIN> {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(object(Type::Integer, MIN, i64::MAX))
            .item(object(Type::Integer, -1, -1))
            .into()
    }
}

impl<const MIN: i64, const MAX: i64> ToSchema for Whole<MIN, MAX> {}
impl<const MIN: i64, const MAX: i64> ToSchema for Real<MIN, MAX> {}
impl<const MIN: i64> ToSchema for Limit<MIN> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_they_are_written_as() {
        let whole = |text| serde_json::from_str::<Whole<0, 20>>(text).ok().map(|n| n.0);
        for (text, expected) in [
            ("0", Some(0)),
            ("20", Some(20)),
            ("2.0", Some(2)),
            ("1e1", Some(10)),
            ("21", None),
            ("-1", None),
            ("0.5", None),
            ("\"1\"", None),
            ("true", None),
            ("[1]", None),
            ("18446744073709551617", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        let real = |text| serde_json::from_str::<Real<0, 2>>(text).ok().map(|x| x.0);
        for (text, expected) in [
            ("0", Some(0.0)),
            ("1.5", Some(1.5)),
            ("2", Some(2.0)),
            ("2.1", None),
            ("1e999", None),
            ("-0.1", None),
            ("\"1\"", None),
            ("null", None),
        ] {
            assert_eq!(real(text), expected, "{text}");
        }
        let limit = |text| serde_json::from_str::<Limit<1>>(text).ok().map(|n| n.0);
        for (text, expected) in [
            ("-1", Some(None)),
            ("5", Some(Some(5))),
            ("0", None),
            ("-2", None),
            ("1e30", None),
        ] {
            assert_eq!(limit(text), expected, "{text}");
        }
        let any = |text| serde_json::from_str::<Whole<{ i64::MIN }, { i64::MAX }>>(text);
        assert_eq!(any("-9223372036854775808").unwrap().0, i64::MIN);
        let error = any("9223372036854775808").unwrap_err().to_string();
        assert!(
            error.starts_with("found 9223372036854775808, expected"),
            "{error}"
        );
    }
}
