//! IQ2_S: 256 values in 82 bytes, eight to an entry of 1024, `x = d * (1/2 + s) / 4 * q`; `s` is
//! shared by 16 values.
//!
//! ```text
//! | d: f16
//! | qs: 32 bytes; byte i holds the low 8 bits of the entry for values 8i .. 8i + 8
//! | signs: 32 bytes; bit k of byte i is the sign of value 8i + k
//! | qh: 8 bytes; byte i / 4 holds the high bits of entry i from bit 2 * (i % 4)
//! | scales: 8 bytes; byte i holds s of sub-block 2i in its low nibble, of sub-block 2i + 1 in its high one |
//! ```

use super::codebook::{self, signed};
use super::{BITS, CodebookFormat, Integers, nibble};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// About two and a half bits: entries of 1024 and signs, scales of four bits for 16.
pub struct IQ2_S;

impl CodebookFormat for IQ2_S {
    type SubBlocks = Symmetric<16, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 82;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        let d = read_f16(block, 0).to_f32();
        for g in 0..16 {
            scale[g] = d * (0.5 + f32::from(nibble(&block[74..82], g))) * 0.25;
        }
        let (qs, signs, qh) = (&block[2..34], &block[34..66], &block[66..74]);
        for i in 0..32 {
            let high = usize::from(qh[i / 4] >> (i % 4 * 2) & 3);
            let magnitudes = codebook::IQ2_S[usize::from(qs[i]) | high << 8];
            q.put(i, signed(magnitudes, signs[i]));
        }
    }
}

const _: () = assert!(IQ2_S::BYTES == 2 + 2 * (IQ2_S::LEN / 8) + 2 * (IQ2_S::LEN / 32));
