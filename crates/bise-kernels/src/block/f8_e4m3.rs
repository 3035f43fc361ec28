//! F8_E4M3: floats of eight bits, whose scales belong to the tensor.
//!
//! Checkpoints hold them, no GGUF file does. A weight is `w = scale * x`, rounded to f32 once,
//! where [`Scales`](crate::tensor::Scales) of the tensor say which scale is whose.

use super::{Format, PlainFormat};
use crate::e4m3;
use crate::isa::Isa;

/// Floats of eight bits, four of them the exponent's, one a byte.
pub struct F8_E4M3;

impl PlainFormat for F8_E4M3 {
    const SCALED: bool = true;

    #[inline(always)]
    fn to_f32(bytes: &[u8]) -> f32 {
        e4m3::to_f32(bytes[0])
    }

    #[inline(always)]
    fn load<S: Isa>(isa: S, bytes: &[u8]) -> S::F {
        isa.load_e4m3(bytes.try_into().expect("16 values"))
    }
}

impl Format for F8_E4M3 {
    const LEN: usize = 1;
    const BYTES: usize = 1;
    const U16_FIELDS: &'static [usize] = &[];
    const WRITTEN: bool = false;

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        out[0] = Self::to_f32(block);
    }
}
