//! IQ4_NL: 32 values in 18 bytes, `x = d * LEVELS[q]`.
//!
//! ```text
//! | d: f16 | qs: 16 bytes; byte i holds q of value i in its low nibble, of value i + 16 in its high one |
//! ```

use super::search::{self, nonlinear};
use super::{
    Format, IntFormat, Symmetric, UnpackedBlock, dequantize_int, pack_halves, read_f16,
    unpack_halves,
};

/// One of 16 levels, denser around zero, one f16 scale for 32.
pub struct IQ4_NL;

impl IntFormat for IQ4_NL {
    type SubBlocks = Symmetric<32, 8>;
    const TABLE: Option<[u8; 16]> = Some(nonlinear::TABLE);

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpacked.d = read_f16(block, 0);
        unpack_halves(&block[2..18], &mut unpacked.q);
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
