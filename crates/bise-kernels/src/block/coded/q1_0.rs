//! Q1_0: 128 values of -1 or 1 in 18 bytes, `x = d * (2 b - 1)`.
//!
//! ```text
//! | d: f16 | bs: 16 bytes; bit l of byte i is b of value 8i + l |
//! ```

use super::{BITS, CodebookFormat, Integers, ZERO};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};
use std::array::from_fn;

/// Bits, one f16 scale for 128.
pub struct Q1_0;

impl CodebookFormat for Q1_0 {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 128;
    const BYTES: usize = 18;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        *scale = [read_f16(block, 0).to_f32(); MAX_SUB_BLOCKS];
        for (i, byte) in block[2..18].iter().enumerate() {
            q.put(i, from_fn(|l| ZERO - 1 + 2 * (byte >> l & 1)));
        }
    }
}

const _: () = assert!(Q1_0::BYTES == 2 + Q1_0::LEN / 8);
