//! IQ4_XS: 256 values in 136 bytes, `x = d * (sc - 32) * LEVELS[q]`; `sc` is shared by 32 values.
//!
//! ```text
//! | d: f16
//! | scales_h: u16; bits 2g and 2g + 1 are the high two of sc of sub-block g
//! | scales_l: 4 bytes; nibble g, low ones first, holds the low four
//! | qs: 128 bytes; byte 16g + i holds q of value 32g + i in its low nibble, of value 32g + 16 + i in its high one |
//! ```

use super::search::{self, SuperBlock, nonlinear};
use super::{
    Format, IntFormat, Symmetric, UnpackedBlock, dequantize_int, pack_halves, read_f16,
    unpack_halves,
};

/// One of 16 levels, denser around zero, 6-bit signed scales for 32, an f16 scale of those for 256.
pub struct IQ4_XS;

impl IntFormat for IQ4_XS {
    type SubBlocks = Symmetric<32, 8>;
    const TABLE: Option<[u8; 16]> = Some(nonlinear::TABLE);
    const SUB_SCALE_BITS: u32 = 6;
    const SUB_SCALE_ZERO: u8 = 32;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpacked.d = read_f16(block, 0);
        for g in 0..8 {
            let low = block[4 + g / 2] >> (g % 2 * 4) & 15;
            let high = block[2 + g / 4] >> (g % 4 * 2) & 3;
            unpacked.sub_scale[g] = low | high << 4;
            unpack_halves(&block[8 + 16 * g..], &mut unpacked.q[32 * g..]);
        }
    }
}

impl Format for IQ4_XS {
    const LEN: usize = 256;
    const BYTES: usize = 136;
    const U16_FIELDS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least weighted squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        let found: SuperBlock = search::nonlinear(x, importance, 32);
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        block[2..8].fill(0);
        for (g, levels) in found.q.as_chunks::<32>().0.iter().enumerate() {
            let scale = (found.scale[g] + 32) as u8;
            block[4 + g / 2] |= (scale & 15) << (g % 2 * 4);
            block[2 + g / 4] |= (scale >> 4) << (g % 4 * 2);
            pack_halves(&levels.map(nonlinear::place), &mut block[8 + 16 * g..]);
        }
    }
}

const _: () = assert!(IQ4_XS::BYTES == 2 + 2 + 4 + IQ4_XS::LEN / 2);
