//! Q2_K: 256 values in 84 bytes, `x = d * sc * q - dmin * m`; `sc` and `m` are shared by 16 values.
//!
//! ```text
//! | scales: 16 bytes; byte g holds sc of sub-block g in its low nibble, m in its high one
//! | qs: 64 bytes; byte 32h + l holds value 128h + 32s + l in bits 2s and 2s + 1
//! | d: f16 | dmin: f16 |
//! ```

use super::search::{self, SuperBlock};
use super::{Affine, Format, IntFormat, UnpackedBlock, dequantize_int, read_f16};

/// 2-bit integers, 4-bit scales and minima for 16, f16 scales of those for 256.
pub struct Q2_K;

impl IntFormat for Q2_K {
    type SubBlocks = Affine<16, 2>;
    const SUB_SCALE_BITS: u32 = 4;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        (unpacked.d, unpacked.dmin) = (read_f16(block, 80), read_f16(block, 82));
        for (g, byte) in block[..16].iter().enumerate() {
            unpacked.sub_scale[g] = byte & 15;
            unpacked.sub_min[g] = byte >> 4;
        }
        unpack_pairs(&block[16..80], &mut unpacked.q);
    }
}

impl Format for Q2_K {
    const LEN: usize = 256;
    const BYTES: usize = 84;
    const U16_FIELDS: &'static [usize] = &[80, 82];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least weighted squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        let found: SuperBlock = search::affine::<16>(x, importance, 3, 15);
        for (byte, (&scale, &min)) in block.iter_mut().zip(found.scale.iter().zip(&found.min)) {
            *byte = scale as u8 | (min as u8) << 4;
        }
        pack_pairs(&mut block[16..80], |i| found.q[i] as u8);
        block[80..82].copy_from_slice(&found.d.to_le_bytes());
        block[82..84].copy_from_slice(&found.dmin.to_le_bytes());
    }
}

/// Reads 256 values of two bits from `qs` (64 bytes).
#[inline(always)]
pub(super) fn unpack_pairs(bytes: &[u8], q: &mut [u8]) {
    for (bytes, q) in bytes.chunks_exact(32).zip(q.chunks_exact_mut(128)) {
        for (s, q) in q.chunks_exact_mut(32).enumerate() {
            for (q, byte) in q.iter_mut().zip(bytes) {
                *q = byte >> (2 * s) & 3;
            }
        }
    }
}

/// Writes the two low bits of 256 values to `qs` (64 bytes).
#[inline(always)]
pub(super) fn pack_pairs(bytes: &mut [u8], level: impl Fn(usize) -> u8) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        let first = i / 32 * 128 + i % 32;
        *byte = (0..4).fold(0, |b, s| b | (level(first + 32 * s) & 3) << (2 * s));
    }
}

const _: () = assert!(Q2_K::BYTES == Q2_K::LEN / 16 + Q2_K::LEN / 4 + 2 + 2);
