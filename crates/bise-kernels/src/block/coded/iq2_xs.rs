//! IQ2_XS: 256 values in 74 bytes, eight to an entry of 512, `x = d * (1/2 + s) / 4 * q`; `s` is
//! shared by 16 values.
//!
//! ```text
//! | d: f16
//! | qs: 32 x u16, one for each eight values: the entry in the low 9 bits, 7 bits of signs above
//! | scales: 8 bytes; byte i holds s of sub-block 2i in its low nibble, of sub-block 2i + 1 in its high one |
//! ```

use super::codebook::{self, signed_evenly};
use super::{BITS, CodebookFormat, Integers, nibble, read_u16};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// About two bits: entries of 512 and signs, scales of four bits for 16.
pub struct IQ2_XS;

impl CodebookFormat for IQ2_XS {
    type SubBlocks = Symmetric<16, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 74;
    const U16_FIELDS: &'static [usize] = &[
        0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46,
        48, 50, 52, 54, 56, 58, 60, 62, 64,
    ];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        let d = read_f16(block, 0).to_f32();
        for g in 0..16 {
            scale[g] = d * (0.5 + f32::from(nibble(&block[66..74], g))) * 0.25;
        }
        for i in 0..32 {
            let code = read_u16(block, 2 + 2 * i);
            let magnitudes = codebook::IQ2_XS[usize::from(code & 511)];
            q.put(i, signed_evenly(magnitudes, u32::from(code >> 9)));
        }
    }
}

const _: () = assert!(IQ2_XS::BYTES == 2 + IQ2_XS::LEN / 8 * 2 + IQ2_XS::LEN / 32);
