//! IQ2_XXS: 256 values in 66 bytes, eight to an entry of 256, `x = d * (1/2 + s) / 4 * q`; `s` is
//! shared by 32 values.
//!
//! ```text
//! | d: f16
//! | for each 32 values: entries: 4 bytes, one for each eight | u32: four times 7 bits of signs, then s in the highest 4 |
//! ```

use super::codebook::{self, signed_evenly};
use super::{BITS, CodebookFormat, Integers, read_u32};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// About two bits: entries of 256 and signs, scales of four bits for 32.
pub struct IQ2_XXS;

impl CodebookFormat for IQ2_XXS {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 66;
    const U16_FIELDS: &'static [usize] = &[
        0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46,
        48, 50, 52, 54, 56, 58, 60, 62, 64,
    ];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        let d = read_f16(block, 0).to_f32();
        for g in 0..8 {
            let (entries, signs) = (read_u32(block, 2 + 8 * g), read_u32(block, 6 + 8 * g));
            scale[g] = d * (0.5 + (signs >> 28) as f32) * 0.25;
            for k in 0..4 {
                let magnitudes = codebook::IQ2_XXS[(entries >> (8 * k) & 255) as usize];
                q.put(4 * g + k, signed_evenly(magnitudes, signs >> (7 * k)));
            }
        }
    }
}

const _: () = assert!(IQ2_XXS::BYTES == 2 + IQ2_XXS::LEN / 32 * 8);
