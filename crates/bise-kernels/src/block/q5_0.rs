//! Q5_0: 32 values in 22 bytes, `x = d * (q - 16)`.
//!
//! ```text
//! | d: f16 | qh: u32, bit i is the fifth bit of value i
//! | qs: 16 bytes; byte i holds the low bits of value i in its low nibble, of value i + 16 in its high one |
//! ```

use super::{
    Format, IntFormat, Symmetric, UnpackedBlock, dequantize_int, extreme, pack_halves, read_f16,
    reciprocal, search, truncate, write_f16,
};

/// 5-bit integers around zero, one f16 scale for 32.
pub struct Q5_0;

impl IntFormat for Q5_0 {
    type SubBlocks = Symmetric<32, 5>;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpacked.d = read_f16(block, 0);
        unpack_levels(&block[2..22], &mut unpacked.q);
    }
}

impl Format for Q5_0 {
    const LEN: usize = 32;
    const BYTES: usize = 22;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The value of largest magnitude becomes exactly -16; with importance, the least weighted
    /// squared error that `search` finds.
    #[inline(always)]
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]) {
        if let Some(importance) = importance {
            let (d, levels) = search::symmetric_block(x, importance, 16);
            block[..2].copy_from_slice(&d.to_le_bytes());
            return pack_levels(&levels.map(|q| (q + 16) as u8), &mut block[2..22]);
        }
        let d = extreme(x) / -16.0;
        let inverse = reciprocal(d);
        write_f16(block, 0, d);
        let q = truncate(|i| x[i] * inverse + 16.5, 31);
        pack_levels(&q, &mut block[2..22]);
    }
}

/// Reads 32 values of five bits from `qh` and `qs` (20 bytes).
///
/// `qh` is a bit mask and no integer of a big-endian file: its four bytes stay as they are.
#[inline(always)]
pub(super) fn unpack_levels(bytes: &[u8], q: &mut [u8]) {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for (i, byte) in bytes[4..20].iter().enumerate() {
        q[i] = byte & 15 | (high >> i << 4) as u8 & 16;
        q[i + 16] = byte >> 4 | (high >> (i + 16) << 4) as u8 & 16;
    }
}

/// Writes 32 values of five bits to `qh` and `qs` (20 bytes).
#[inline(always)]
pub(super) fn pack_levels(q: &[u8; 32], bytes: &mut [u8]) {
    let high = q.iter().rev().fold(0, |high, q| high << 1 | u32::from(q >> 4));
    bytes[..4].copy_from_slice(&high.to_le_bytes());
    pack_halves(q, &mut bytes[4..20]);
}

const _: () = assert!(Q5_0::BYTES == 2 + 4 + Q5_0::LEN / 2);
