//! F32, F16 and BF16: one value a block.

use super::{Format, PlainFormat, RoundedFormat};
use crate::isa::Isa;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// IEEE 754 binary32.
pub struct F32;
/// IEEE 754 binary16.
pub struct F16;
/// The upper half of binary32.
pub struct Bf16;

impl PlainFormat for F32 {
    #[inline(always)]
    fn to_f32(bytes: &[u8]) -> f32 {
        f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline(always)]
    fn load<S: Isa>(isa: S, bytes: &[u8]) -> S::F {
        isa.load_f32(lanes(bytes))
    }
}

impl RoundedFormat for F32 {
    #[inline(always)]
    fn from_f32s(x: &[f32], bytes: &mut [u8]) {
        for (x, bytes) in x.iter().zip(bytes.as_chunks_mut().0) {
            *bytes = x.to_le_bytes();
        }
    }
}

impl Format for F32 {
    const LEN: usize = 1;
    const BYTES: usize = 4;
    const U16_FIELDS: &'static [usize] = &[];
    const U32_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        out[0] = Self::to_f32(block);
    }

    #[inline(always)]
    fn quantize(x: &[f32], _: Option<&[f32]>, block: &mut [u8]) {
        block.copy_from_slice(&x[0].to_le_bytes());
    }
}

impl PlainFormat for F16 {
    #[inline(always)]
    fn to_f32(bytes: &[u8]) -> f32 {
        f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }

    #[inline(always)]
    fn load<S: Isa>(isa: S, bytes: &[u8]) -> S::F {
        isa.load_f16(lanes(bytes))
    }
}

impl RoundedFormat for F16 {
    #[inline(always)]
    fn from_f32s(x: &[f32], bytes: &mut [u8]) {
        let mut rounded = [f16::ZERO; 64];
        for (x, bytes) in x.chunks(64).zip(bytes.chunks_mut(2 * 64)) {
            let rounded = &mut rounded[..x.len()];
            rounded.convert_from_f32_slice(x);
            for (x, bytes) in rounded.iter().zip(bytes.as_chunks_mut().0) {
                *bytes = x.to_le_bytes();
            }
        }
    }
}

impl Format for F16 {
    const LEN: usize = 1;
    const BYTES: usize = 2;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        out[0] = Self::to_f32(block);
    }

    #[inline(always)]
    fn quantize(x: &[f32], _: Option<&[f32]>, block: &mut [u8]) {
        block.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes());
    }
}

impl PlainFormat for Bf16 {
    #[inline(always)]
    fn to_f32(bytes: &[u8]) -> f32 {
        bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }

    #[inline(always)]
    fn load<S: Isa>(isa: S, bytes: &[u8]) -> S::F {
        isa.load_bf16(lanes(bytes))
    }
}

impl Format for Bf16 {
    const LEN: usize = 1;
    const BYTES: usize = 2;
    const U16_FIELDS: &'static [usize] = &[0];

    #[inline(always)]
    fn dequantize(block: &[u8], out: &mut [f32]) {
        out[0] = Self::to_f32(block);
    }

    #[inline(always)]
    fn quantize(x: &[f32], _: Option<&[f32]>, block: &mut [u8]) {
        block.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes());
    }
}

/// `bytes` as the array that the loads of [`Isa`] take.
#[inline(always)]
fn lanes<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.try_into().expect("16 values")
}
