//! Q4_0: 32 values in 18 bytes, `x = d * (q - 8)`.
//!
//! ```text
//! | d: f16 | qs: 16 bytes; byte i holds value i in its low nibble, value i + 16 in its high one |
//! ```

use super::{
    Format, IntFormat, Symmetric, UnpackedBlock, dequantize_int, extreme, pack_halves, read_f16,
    reciprocal, search, truncate, unpack_halves, write_f16,
};

/// 4-bit integers around zero, one f16 scale for 32.
pub struct Q4_0;

impl IntFormat for Q4_0 {
    type SubBlocks = Symmetric<32, 4>;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpacked.d = read_f16(block, 0);
        unpack_halves(&block[2..18], &mut unpacked.q);
    }
}

impl Format for Q4_0 {
    const LEN: usize = 32;
    const BYTES: usize = 18;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The value of largest magnitude becomes exactly -8; with importance, the least weighted
    /// squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        if let Some(importance) = importance {
            let (d, levels) = search::symmetric_block(x, importance, 8);
            block[..2].copy_from_slice(&d.to_le_bytes());
            return pack_halves(&levels.map(|q| (q + 8) as u8), &mut block[2..18]);
        }
        let d = extreme(x) / -8.0;
        let inverse = reciprocal(d);
        write_f16(block, 0, d);
        let q = truncate(|i| x[i] * inverse + 8.5, 15);
        pack_halves(&q, &mut block[2..18]);
    }
}

const _: () = assert!(Q4_0::BYTES == 2 + Q4_0::LEN / 2);
