//! Q5_K: 256 values in 176 bytes, `x = d * sc * q - dmin * m`; `sc` and `m` are shared by 32
//! values.
//!
//! ```text
//! | d: f16 | dmin: f16 | scales: 12 bytes, all as in Q4_K
//! | qh: 32 bytes; bit b of byte l is the fifth bit of value 32b + l
//! | qs: 128 bytes; byte 32p + l holds the low bits of value 64p + l in its low nibble,
//! |     of value 64p + 32 + l in its high one |
//! ```

use super::q4_k::{pack_nibbles, pack_scales, unpack_nibbles, unpack_scales};
use super::{Affine, Format, IntFormat, UnpackedBlock, dequantize_int, search};

/// 5-bit integers, 6-bit scales and minima for 32, f16 scales of those for 256.
pub struct Q5_K;

impl IntFormat for Q5_K {
    type SubBlocks = Affine<32, 5>;
    const SUB_SCALE_BITS: u32 = 6;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpack_scales(block, unpacked);
        unpack_nibbles(&block[48..176], &mut unpacked.q);
        for (b, q) in unpacked.q.chunks_exact_mut(32).enumerate() {
            for (q, high) in q.iter_mut().zip(&block[16..48]) {
                *q |= (high >> b & 1) << 4;
            }
        }
    }
}

impl Format for Q5_K {
    const LEN: usize = 256;
    const BYTES: usize = 176;
    const U16_FIELDS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The least weighted squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        let found = search::affine::<32>(x, importance, 31, 63);
        pack_scales(&found, block);
        for (l, byte) in block[16..48].iter_mut().enumerate() {
            *byte = (0..8).fold(0, |high, b| high | (found.q[32 * b + l] as u8 >> 4) << b);
        }
        pack_nibbles(&mut block[48..176], |i| found.q[i] as u8);
    }
}

const _: () = assert!(Q5_K::BYTES == 2 + 2 + 12 + Q5_K::LEN / 8 + Q5_K::LEN / 2);
