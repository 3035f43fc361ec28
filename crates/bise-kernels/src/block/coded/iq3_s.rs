//! IQ3_S: 256 values in 110 bytes, four to an entry of 512, `x = d * (1 + 2 s) * q`; `s` is shared
//! by 32 values.
//!
//! ```text
//! | d: f16
//! | qs: 64 bytes; byte i holds the low 8 bits of the entry for values 4i .. 4i + 4
//! | qh: 8 bytes; bit i % 8 of byte i / 8 is the high bit of entry i
//! | signs: 32 bytes; bit k of byte i is the sign of value 8i + k
//! | scales: 4 bytes; byte i holds s of sub-block 2i in its low nibble, of sub-block 2i + 1 in its high one |
//! ```

use super::codebook::{self, signed};
use super::{BITS, CodebookFormat, Integers, nibble};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// About three and a half bits: entries of 512 and signs, scales of four bits for 32.
pub struct IQ3_S;

impl CodebookFormat for IQ3_S {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 110;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        let d = read_f16(block, 0).to_f32();
        for g in 0..8 {
            scale[g] = d * f32::from(1 + 2 * nibble(&block[106..110], g));
        }
        let (qs, qh, signs) = (&block[2..66], &block[66..74], &block[74..106]);
        for i in 0..32 {
            let entry = |at: usize| {
                let high = usize::from(qh[at / 8] >> (at % 8) & 1);
                codebook::IQ3_S[usize::from(qs[at]) | high << 8]
            };
            let magnitudes = entry(2 * i) | entry(2 * i + 1) << 32;
            q.put(i, signed(magnitudes, signs[i]));
        }
    }
}

const _: () = assert!(
    IQ3_S::BYTES == 2 + IQ3_S::LEN / 4 + IQ3_S::LEN / 32 + IQ3_S::LEN / 8 + IQ3_S::LEN / 64
);
