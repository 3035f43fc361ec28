//! Q3_K: 256 values in 110 bytes, `x = d * (sc - 32) * (q - 4)`; `sc` is shared by 16 values.
//!
//! ```text
//! | hmask: 32 bytes; bit b of byte l is the third bit of value 32b + l
//! | qs: 64 bytes; byte 32h + l holds the low bits of value 128h + 32s + l in bits 2s and 2s + 1
//! | scales: 12 bytes; sc of sub-block g has its low four bits in byte g % 8, in the nibble g / 8,
//! |         and its high two in byte 8 + g % 4, from bit 2 * (g / 4)
//! | d: f16 |
//! ```

use super::q2_k::{pack_pairs, unpack_pairs};
use super::search::{self, SuperBlock};
use super::{Format, IntFormat, Symmetric, UnpackedBlock, dequantize_int, read_f16};

/// 3-bit integers around zero, 6-bit signed scales for 16, an f16 scale of those for 256.
pub struct Q3_K;

impl IntFormat for Q3_K {
    type SubBlocks = Symmetric<16, 3>;
    const SUB_SCALE_BITS: u32 = 6;
    const SUB_SCALE_ZERO: u8 = 32;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpacked.d = read_f16(block, 108);
        let scales = &block[96..108];
        for (g, sub_scale) in unpacked.sub_scale.iter_mut().enumerate() {
            let low = scales[g % 8] >> (g / 8 * 4) & 15;
            let high = scales[8 + g % 4] >> (g / 4 * 2) & 3;
            *sub_scale = low | high << 4;
        }
        unpack_pairs(&block[32..96], &mut unpacked.q);
        for (b, q) in unpacked.q.chunks_exact_mut(32).enumerate() {
            for (q, mask) in q.iter_mut().zip(&block[..32]) {
                *q |= (mask >> b & 1) << 2;
            }
        }
    }
}

impl Format for Q3_K {
    const LEN: usize = 256;
    const BYTES: usize = 110;
    const U16_FIELDS: &'static [usize] = &[108];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least weighted squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        let found: SuperBlock = search::symmetric(x, importance, 4, 32);
        let level = |i: usize| (found.q[i] + 4) as u8;
        for (l, byte) in block[..32].iter_mut().enumerate() {
            *byte = (0..8).fold(0, |mask, b| mask | (level(32 * b + l) >> 2) << b);
        }
        pack_pairs(&mut block[32..96], level);
        let scale = |g: usize| (found.scale[g] + 32) as u8;
        for j in 0..8 {
            block[96 + j] = scale(j) & 15 | scale(8 + j) << 4;
        }
        for j in 0..4 {
            block[104 + j] = (0..4).fold(0, |b, s| b | (scale(4 * s + j) >> 4) << (2 * s));
        }
        block[108..110].copy_from_slice(&found.d.to_le_bytes());
    }
}

const _: () = assert!(Q3_K::BYTES == Q3_K::LEN / 8 + Q3_K::LEN / 4 + 12 + 2);
