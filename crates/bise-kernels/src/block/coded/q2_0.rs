//! Q2_0: 64 values of -1, 0, 1 or 2 in 18 bytes, `x = d * (t - 1)`.
//!
//! ```text
//! | d: f16 | ts: 16 bytes; bits 2l and 2l + 1 of byte i are t of value 4i + l |
//! ```

use super::{BITS, CodebookFormat, Integers, ZERO};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};
use std::array::from_fn;

/// Pairs of bits, one f16 scale for 64.
pub struct Q2_0;

impl CodebookFormat for Q2_0 {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 64;
    const BYTES: usize = 18;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        *scale = [read_f16(block, 0).to_f32(); MAX_SUB_BLOCKS];
        for (i, two) in block[2..18].as_chunks::<2>().0.iter().enumerate() {
            q.put(i, from_fn(|l| ZERO - 1 + (two[l / 4] >> (2 * (l % 4)) & 3)));
        }
    }
}

const _: () = assert!(Q2_0::BYTES == 2 + Q2_0::LEN / 4);
