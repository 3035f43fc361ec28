//! TQ2_0: 256 values of -1, 0 or 1 in 66 bytes, `x = d * (t - 1)`.
//!
//! ```text
//! | qs: 64 bytes; byte 32h + l holds t of value 128h + 32s + l in bits 2s and 2s + 1
//! | d: f16 |
//! ```

use super::{BITS, CodebookFormat, Integers, ZERO, put_all};
use crate::block::q2_k::unpack_pairs;
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// Pairs of bits, one f16 scale for 256.
pub struct TQ2_0;

impl CodebookFormat for TQ2_0 {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 66;
    const U16_FIELDS: &'static [usize] = &[64];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        *scale = [read_f16(block, 64).to_f32(); MAX_SUB_BLOCKS];
        let mut all = [0; 256];
        unpack_pairs(&block[..64], &mut all);
        put_all(q, 0, &all.map(|t| t + ZERO - 1));
    }
}

const _: () = assert!(TQ2_0::BYTES == TQ2_0::LEN / 4 + 2);
