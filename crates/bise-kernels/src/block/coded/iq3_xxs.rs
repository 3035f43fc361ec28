//! IQ3_XXS: 256 values in 98 bytes, four to an entry of 256, `x = d * (1/2 + s) / 2 * q`; `s` is
//! shared by 32 values.
//!
//! ```text
//! | d: f16
//! | qs: 64 bytes; byte i is the entry for values 4i .. 4i + 4
//! | for each 32 values, u32: four times 7 bits of signs, each for eight values, then s in the highest 4 |
//! ```

use super::codebook::{self, signed_evenly};
use super::{BITS, CodebookFormat, Integers, read_u32};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// About three bits: entries of 256 and signs, scales of four bits for 32.
pub struct IQ3_XXS;

impl CodebookFormat for IQ3_XXS {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 98;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        let d = read_f16(block, 0).to_f32();
        for g in 0..8 {
            let signs = read_u32(block, 66 + 4 * g);
            scale[g] = d * (0.5 + (signs >> 28) as f32) * 0.5;
            for k in 0..4 {
                let entry = |at: usize| codebook::IQ3_XXS[usize::from(block[2 + at])];
                let at = 8 * g + 2 * k;
                let magnitudes = entry(at) | entry(at + 1) << 32;
                q.put(4 * g + k, signed_evenly(magnitudes, signs >> (7 * k)));
            }
        }
    }
}

const _: () = assert!(IQ3_XXS::BYTES == 2 + IQ3_XXS::LEN / 4 + IQ3_XXS::LEN / 32 * 4);
