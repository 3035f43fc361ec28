//! IQ1_S: 256 values in 50 bytes, eight to an entry of 2048, `x = d * (2 s + 1) * (q + delta)`,
//! where `q` is -1, 0 or 1 and `delta` 1/8 or -1/8; `s` and `delta` are shared by 32 values.
//!
//! ```text
//! | d: f16
//! | qs: 32 bytes; byte i holds the low 8 bits of the entry for values 8i .. 8i + 8
//! | qh: 8 x u16, one for each 32 values: four times the 3 high bits of an entry, s in bits 12 to 14,
//! |     and in bit 15 whether delta is negative |
//! ```

use super::{BITS, CodebookFormat, Integers, codebook, read_u16};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// About one and a half bits: entries of 2048, scales of three bits for 32.
pub struct IQ1_S;

impl CodebookFormat for IQ1_S {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 50;
    const U16_FIELDS: &'static [usize] = &[0, 34, 36, 38, 40, 42, 44, 46, 48];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        let d = read_f16(block, 0).to_f32();
        for g in 0..8 {
            let high = read_u16(block, 34 + 2 * g);
            scale[g] = d * f32::from(2 * (high >> 12 & 7) + 1) * 0.125;
            for k in 0..4 {
                let entry =
                    usize::from(block[2 + 4 * g + k]) | usize::from(high >> (3 * k) & 7) << 8;
                q.put(4 * g + k, with_delta(codebook::IQ1[entry], high & 0x8000 != 0));
            }
        }
    }
}

/// Eight times the values `q + delta`, from eight times the `q`.
#[inline(always)]
pub(super) fn with_delta(eight: u64, negative: bool) -> [u8; 8] {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let less = eight - ONES;
    (if negative { less } else { less + 2 * ONES }).to_le_bytes()
}

const _: () = assert!(IQ1_S::BYTES == 2 + IQ1_S::LEN / 8 + IQ1_S::LEN / 32 * 2);
