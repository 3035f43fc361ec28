//! Q6_K: 256 values in 210 bytes, `x = d * sc * (q - 32)`; `sc` is shared by 16 values.
//!
//! ```text
//! | ql: 128 bytes; byte 64h + l holds the low bits of value 128h + l in its low nibble,
//! |     of value 128h + 64 + l in its high one
//! | qh: 64 bytes; byte 32h + l holds the high bits of value 128h + 32s + l in bits 2s and 2s + 1
//! | scales: 16 x i8, sc of sub-block g
//! | d: f16 |
//! ```

use super::q2_k::{pack_pairs, unpack_pairs};
use super::search::{self, SuperBlock};
use super::{Format, IntFormat, Symmetric, UnpackedBlock, dequantize_int, read_f16};

/// 6-bit integers around zero, 8-bit signed scales for 16, an f16 scale of those for 256.
pub struct Q6_K;

impl IntFormat for Q6_K {
    type SubBlocks = Symmetric<16, 6>;
    const SUB_SCALE_BITS: u32 = 8;
    const SUB_SCALE_ZERO: u8 = 128;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpacked.d = read_f16(block, 208);
        for (sub_scale, byte) in unpacked.sub_scale.iter_mut().zip(&block[192..208]) {
            *sub_scale = byte ^ 128;
        }
        unpack_pairs(&block[128..192], &mut unpacked.q);
        for (bytes, q) in block[..128]
            .chunks_exact(64)
            .zip(unpacked.q.chunks_exact_mut(128))
        {
            for (l, byte) in bytes.iter().enumerate() {
                q[l] = q[l] << 4 | byte & 15;
                q[64 + l] = q[64 + l] << 4 | byte >> 4;
            }
        }
    }
}

impl Format for Q6_K {
    const LEN: usize = 256;
    const BYTES: usize = 210;
    const U16_FIELDS: &'static [usize] = &[208];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least weighted squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        let found: SuperBlock = search::symmetric(x, importance, 32, 128);
        let level = |i: usize| (found.q[i] + 32) as u8;
        for (i, byte) in block[..128].iter_mut().enumerate() {
            let first = i / 64 * 128 + i % 64;
            *byte = level(first) & 15 | level(first + 64) << 4;
        }
        pack_pairs(&mut block[128..192], |i| level(i) >> 4);
        for (byte, &scale) in block[192..208].iter_mut().zip(&found.scale) {
            *byte = scale as u8;
        }
        block[208..210].copy_from_slice(&found.d.to_le_bytes());
    }
}

const _: () = assert!(Q6_K::BYTES == Q6_K::LEN / 2 + Q6_K::LEN / 4 + Q6_K::LEN / 16 + 2);
