//! MXFP4: 32 floats of four bits in 17 bytes, `x = 2^(e - 127) * v`, as the Open Compute Project
//! defines them.
//!
//! ```text
//! | e: u8 | qs: 16 bytes; byte i holds value i in its low nibble, value i + 16 in its high one |
//! ```
//!
//! A nibble has the sign in its top bit and stands for `v` of 0, 1/2, 1, 3/2, 2, 3, 4 or 6; the
//! integers are twice that.

use super::{BITS, CodebookFormat, Integers, ZERO, put_all};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, unpack_halves};

/// Floats of four bits, a power of two for 32.
pub struct MXFP4;

/// The integer of each nibble.
pub(super) const VALUES: [u8; 16] = {
    const MAGNITUDES: [u8; 8] = [0, 1, 2, 3, 4, 6, 8, 12];
    let (mut values, mut i) = ([0; 16], 0);
    while i < 8 {
        (values[i], values[8 + i]) = (ZERO + MAGNITUDES[i], ZERO - MAGNITUDES[i]);
        i += 1;
    }
    values
};

impl CodebookFormat for MXFP4 {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 32;
    const BYTES: usize = 17;
    const U16_FIELDS: &'static [usize] = &[];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        scale[0] = half_of_power(block[0]);
        let mut all = [0; 32];
        unpack_halves(&block[1..17], &mut all);
        put_all(q, 0, &all.map(|nibble| VALUES[usize::from(nibble)]));
    }
}

/// `2^(e - 128)`; the least two are subnormal.
#[inline(always)]
fn half_of_power(e: u8) -> f32 {
    match e {
        0..2 => f32::from_bits(0x0020_0000 << e),
        _ => f32::from_bits(u32::from(e - 1) << 23),
    }
}

const _: () = assert!(MXFP4::BYTES == 1 + MXFP4::LEN / 2);
