//! IQ4_NL: 32 values in 18 bytes, `x = d * LEVELS[q]`.
//!
//! ```text
//! | d: f16 | qs: 16 bytes; byte i holds q of value i in its low nibble, of value i + 16 in its high one |
//! ```

use super::search::{self, nonlinear};
use super::{Format, IntFormat, Parts, dequantize_int, pack_halves, read_f16, unpack_halves};

/// One of 16 levels, denser around zero, one f16 scale for 32.
pub struct IQ4_NL;

impl IntFormat for IQ4_NL {
    const BITS: u32 = 4;
    const TABLE: Option<[u8; 16]> = Some(nonlinear::TABLE);
    const GROUP: usize = 32;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn split(block: &[u8], parts: &mut Parts) {
        parts.d = read_f16(block, 0);
        unpack_halves(&block[2..18], &mut parts.q);
    }
}

impl Format for IQ4_NL {
    const LEN: usize = 32;
    const BYTES: usize = 18;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least weighted squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        let (d, levels) = search::one_scale(x, importance);
        block[..2].copy_from_slice(&d.to_le_bytes());
        pack_halves(&levels.map(nonlinear::place), &mut block[2..18]);
    }
}

const _: () = assert!(IQ4_NL::BYTES == 2 + IQ4_NL::LEN / 2);
