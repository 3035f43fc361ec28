//! NVFP4: 64 floats of four bits in 36 bytes, `x = s * v`; `s` is shared by 16.
//!
//! ```text
//! | s: 4 bytes, one a sub-block
//! | qs: 32 bytes; byte 8g + i holds v of value 16g + i in its low nibble,
//! |     of value 16g + i + 8 in its high one |
//! ```
//!
//! `v` is a float of MXFP4. `s` is a float of E4M3 without its sign, which is not looked at; 0x7f,
//! which would be NaN, is 0, as llama.cpp reads it.

use super::mxfp4::VALUES;
use super::{BITS, CodebookFormat, Integers};
use crate::block::{MAX_SUB_BLOCKS, Symmetric};

/// Floats of four bits, one of eight for 16.
pub struct NVFP4;

impl CodebookFormat for NVFP4 {
    type SubBlocks = Symmetric<16, BITS>;

    const LEN: usize = 64;
    const BYTES: usize = 36;
    const U16_FIELDS: &'static [usize] = &[];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        for (g, bytes) in block[4..36].as_chunks::<8>().0.iter().enumerate() {
            scale[g] = half(block[g]);
            q.put(2 * g, bytes.map(|byte| VALUES[usize::from(byte & 15)]));
            q.put(2 * g + 1, bytes.map(|byte| VALUES[usize::from(byte >> 4)]));
        }
    }
}

/// Half of the value that the low seven bits stand for, as integers are twice theirs.
#[inline(always)]
fn half(bits: u8) -> f32 {
    let magnitude = bits & 0x7f;
    match magnitude {
        _ if bits == 0x7f => 0.0,
        0..8 => f32::from(magnitude) * (1.0 / 1024.0),
        // The same fraction behind an exponent of f32, which is 127 - 7 larger.
        _ => 0.5 * f32::from_bits((u32::from(magnitude) + (120 << 3)) << 20),
    }
}

const _: () = assert!(NVFP4::BYTES == NVFP4::LEN / 16 + NVFP4::LEN / 2);
