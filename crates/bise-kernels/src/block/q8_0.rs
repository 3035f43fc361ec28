//! Q8_0: 32 values in 34 bytes, `x = d * q`.
//!
//! ```text
//! | d: f16 | qs: 32 x i8 |
//! ```

use super::{
    Format, IntFormat, Symmetric, UnpackedBlock, dequantize_int, magnitude, read_f16, reciprocal,
    whole, write_f16,
};

/// 8-bit integers, one f16 scale for 32.
pub struct Q8_0;

impl IntFormat for Q8_0 {
    type SubBlocks = Symmetric<32, 8>;

    #[inline(always)]
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock) {
        unpacked.d = read_f16(block, 0);
        for (q, byte) in unpacked.q.iter_mut().zip(&block[2..34]) {
            *q = byte ^ 128;
        }
    }
}

impl Format for Q8_0 {
    const LEN: usize = 32;
    const BYTES: usize = 34;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        dequantize_int::<Self>(block, out);
    }

    /// The value of largest magnitude becomes 127; halves round away from zero.
    #[inline(always)]
    fn quantize(x: &[f32], _: Option<&[f32]>, block: &mut [u8]) {
        // Adding a half would round the float just below 0.5 up to 1; with the float below a half,
        // halves and all above still reach the next integer.
        const HALF: f32 = 0.5f32.next_down();
        let d = magnitude(x) / 127.0;
        let inverse = reciprocal(d);
        write_f16(block, 0, d);
        for (byte, v) in block[2..34].iter_mut().zip(x) {
            let level = v * inverse;
            let magnitude = whole(level.abs() + HALF) as i8;
            *byte = if level < 0.0 { -magnitude } else { magnitude } as u8;
        }
    }
}

const _: () = assert!(Q8_0::BYTES == 2 + Q8_0::LEN);
