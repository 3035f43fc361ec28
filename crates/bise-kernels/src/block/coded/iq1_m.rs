//! IQ1_M: 256 values in 56 bytes, eight to an entry of 2048, `x = d * (2 s + 1) * (q + delta)`,
//! where `q` is -1, 0 or 1 and `delta` 1/8 or -1/8; `s` is shared by 16 values, `delta` by eight.
//!
//! ```text
//! | qs: 32 bytes; byte i holds the low 8 bits of the entry for values 8i .. 8i + 8
//! | qh: 16 bytes; nibble i, low ones first, holds the 3 high bits of entry i, and in its top bit whether delta is negative
//! | scales: 4 x u16; the i-th holds s of sub-blocks 4i .. 4i + 4, 3 bits each, and in its high nibble nibble i of d: f16 |
//! ```

use super::iq1_s::with_delta;
use super::{BITS, CodebookFormat, Integers, codebook, nibble, read_u16};
use crate::block::{MAX_SUB_BLOCKS, Symmetric};
use half::f16;

/// Under two bits: entries of 2048, scales of three bits for 16.
pub struct IQ1_M;

impl CodebookFormat for IQ1_M {
    type SubBlocks = Symmetric<16, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 56;
    const U16_FIELDS: &'static [usize] = &[48, 50, 52, 54];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        let scales: [u16; 4] = std::array::from_fn(|i| read_u16(block, 48 + 2 * i));
        let [a, b, c, d] = scales.map(|bits| bits >> 12);
        let d = f16::from_bits(a | b << 4 | c << 8 | d << 12).to_f32();
        for g in 0..16 {
            scale[g] = d * f32::from(2 * (scales[g / 4] >> (g % 4 * 3) & 7) + 1) * 0.125;
        }
        for i in 0..32 {
            let high = nibble(&block[32..48], i);
            let entry = usize::from(block[i]) | usize::from(high & 7) << 8;
            q.put(i, with_delta(codebook::IQ1[entry], high & 8 != 0));
        }
    }
}

const _: () = assert!(IQ1_M::BYTES == IQ1_M::LEN / 8 + IQ1_M::LEN / 16 + IQ1_M::LEN / 32);
