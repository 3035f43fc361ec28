//! E4M3: floats of eight bits, as the Open Compute Project defines them.
//!
//! ```text
//! | sign: 1 bit | exponent e: 4 bits | fraction m: 3 bits |
//!
//! e > 0    2^(e - 7) * (1 + m / 8)    from 2^-6 to 448
//! e = 0    2^-6 * m / 8
//! ```
//!
//! There are no infinities, and one NaN of each sign: `e = 15`, `m = 7`.

/// The bits of the magnitude that is none.
pub(crate) const NAN: u8 = 0x7f;
/// The largest value.
pub(crate) const MAX: f32 = 448.0;

/// The value of `bits`, exactly.
#[inline(always)]
pub(crate) fn to_f32(bits: u8) -> f32 {
    let magnitude = bits & 0x7f;
    let value = match magnitude {
        0..8 => f32::from(magnitude) * (1.0 / 512.0),
        // The same fraction behind an exponent of f32, which is 127 - 7 larger.
        8..NAN => f32::from_bits((u32::from(magnitude) + (120 << 3)) << 20),
        _ => f32::NAN,
    };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x80) << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, in arithmetic that is exact.
    #[test]
    fn all_values_are_those_of_the_definition() {
        for bits in 0..=u8::MAX {
            let (e, m) = (i32::from(bits >> 3 & 15), f64::from(bits & 7));
            let magnitude = match (e, bits & 7) {
                (15, 7) => f64::NAN,
                (0, _) => 2f64.powi(-6) * m / 8.0,
                _ => 2f64.powi(e - 7) * (1.0 + m / 8.0),
            };
            let expected = if bits < 128 { magnitude } else { -magnitude };
            let value = to_f32(bits);
            assert_eq!(value.is_sign_negative(), bits >= 128, "{bits:x}");
            assert_eq!(value.is_nan(), expected.is_nan(), "{bits:x}");
            assert!(
                value.is_nan() || f64::from(value) == expected,
                "{bits:x}: {value}"
            );
        }
        assert_eq!(to_f32(NAN - 1), MAX);
    }
}
