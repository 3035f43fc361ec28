//! Q4_K: 256 values in 144 bytes, `x = d * sc * q - dmin * m`; `sc` and `m` are shared by 32
//! values.
//!
//! ```text
//! | d: f16 | dmin: f16
//! | scales: 12 bytes; for g < 4: byte g holds sc of sub-block g in its low six bits, byte 4 + g its m;
//! |         byte 8 + g holds the low four bits of sc and m of sub-block 4 + g,
//! |         whose high two bits are the high two bits of bytes g and 4 + g
//! | qs: 128 bytes; byte 32p + l holds value 64p + l in its low nibble, value 64p + 32 + l in its high one |
//! ```

use super::search::{self, SuperBlock};
use super::{Affine, Format, IntFormat, UnpackedBlock, dequantize_int, read_f16};

/// 4-bit integers, 6-bit scales and minima for 32, f16 scales of those for 256.
pub struct Q4_K;

impl IntFormat for Q4_K {
    type SubBlocks = Affine<32, 4>;
    const SUB_SCALE_BITS: u32 = 6;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpack_scales(block, unpacked);
        unpack_nibbles(&block[16..144], &mut unpacked.q);
    }
}

impl Format for Q4_K {
    const LEN: usize = 256;
    const BYTES: usize = 144;
    const U16_FIELDS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least weighted squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        let found = search::affine::<32>(x, importance, 15, 63);
        pack_scales(&found, block);
        pack_nibbles(&mut block[16..144], |i| found.q[i] as u8);
    }
}

/// Reads `d`, `dmin` and `scales` (the first 16 bytes of `block`): what makes scales and minima of
/// 8 sub-blocks.
#[inline(always)]
pub(super) fn unpack_scales(block: &[u8], unpacked: &mut UnpackedBlock) {
    (unpacked.d, unpacked.dmin) = (read_f16(block, 0), read_f16(block, 2));
    let packed = &block[4..16];
    for g in 0..4 {
        let (a, b, low) = (packed[g], packed[4 + g], packed[8 + g]);
        unpacked.sub_scale[g] = a & 63;
        unpacked.sub_min[g] = b & 63;
        unpacked.sub_scale[4 + g] = low & 15 | (a >> 6) << 4;
        unpacked.sub_min[4 + g] = low >> 4 | (b >> 6) << 4;
    }
}

/// Writes `d`, `dmin` and `scales` (the first 16 bytes of `block`).
#[inline(always)]
pub(super) fn pack_scales(found: &SuperBlock, block: &mut [u8]) {
    block[0..2].copy_from_slice(&found.d.to_le_bytes());
    block[2..4].copy_from_slice(&found.dmin.to_le_bytes());
    for g in 0..4 {
        let (scale, min) = (found.scale[4 + g] as u8, found.min[4 + g] as u8);
        block[4 + g] = found.scale[g] as u8 | (scale >> 4) << 6;
        block[8 + g] = found.min[g] as u8 | (min >> 4) << 6;
        block[12 + g] = scale & 15 | min << 4;
    }
}

/// Reads 256 values of four bits from `qs` (128 bytes).
#[inline(always)]
pub(super) fn unpack_nibbles(bytes: &[u8], q: &mut [u8]) {
    for (bytes, q) in bytes.chunks_exact(32).zip(q.chunks_exact_mut(64)) {
        for (l, byte) in bytes.iter().enumerate() {
            q[l] = byte & 15;
            q[32 + l] = byte >> 4;
        }
    }
}

/// Writes the four low bits of 256 values to `qs` (128 bytes).
#[inline(always)]
pub(super) fn pack_nibbles(bytes: &mut [u8], level: impl Fn(usize) -> u8) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        let first = i / 32 * 64 + i % 32;
        *byte = level(first) & 15 | level(first + 32) << 4;
    }
}

const _: () = assert!(Q4_K::BYTES == 2 + 2 + 12 + Q4_K::LEN / 2);
