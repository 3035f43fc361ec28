//! Q5_1: 32 values in 24 bytes, `x = d * q + m`.
//!
//! ```text
//! | d: f16 | m: f16 | qh: u32, bit i is the fifth bit of value i
//! | qs: 16 bytes; byte i holds the low bits of value i in its low nibble, of value i + 16 in its high one |
//! ```

use super::q5_0::{pack_levels, unpack_levels};
use super::{
    Affine, Format, IntFormat, UnpackedBlock, dequantize_int, range, read_f16, reciprocal, search,
    truncate, write_f16,
};

/// 5-bit integers, one f16 scale and one f16 offset for 32.
pub struct Q5_1;

impl IntFormat for Q5_1 {
    type SubBlocks = Affine<32, 5>;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        (unpacked.d, unpacked.dmin) = (read_f16(block, 0), -read_f16(block, 2));
        unpack_levels(&block[4..24], &mut unpacked.q);
    }
}

impl Format for Q5_1 {
    const LEN: usize = 32;
    const BYTES: usize = 24;
    const U16_FIELDS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least value becomes 0, the greatest 31; with importance, the least weighted squared
    /// error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        if let Some(importance) = importance {
            let (d, min, levels) = search::affine_block(x, importance, 31);
            block[..2].copy_from_slice(&d.to_le_bytes());
            block[2..4].copy_from_slice(&(-min).to_le_bytes());
            return pack_levels(&levels.map(|q| q as u8), &mut block[4..24]);
        }
        let (least, greatest) = range(x);
        let d = (greatest - least) / 31.0;
        let inverse = reciprocal(d);
        write_f16(block, 0, d);
        write_f16(block, 2, least);
        let q = truncate(|i| (x[i] - least) * inverse + 0.5, 31);
        pack_levels(&q, &mut block[4..24]);
    }
}

const _: () = assert!(Q5_1::BYTES == 2 + 2 + 4 + Q5_1::LEN / 2);
