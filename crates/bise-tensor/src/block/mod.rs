//! The storage formats of GGUF tensors: one file per format, one line in `registry` for each.
//!
//! A tensor row is a whole number of *blocks*. A format says how many values a block holds, how many
//! bytes it takes, and how the two turn into each other. Quantized formats also say how a block falls
//! apart into small integers and scales ([`IntFormat`]), which is all that the kernels need to know.

// The formats bear the names that GGML gives them.
#![allow(non_camel_case_types)]

mod plain;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod registry;
mod search;

pub use plain::{Bf16, F16, F32};
pub use q2_k::Q2_K;
pub use q3_k::Q3_K;
pub use q4_0::Q4_0;
pub use q4_1::Q4_1;
pub use q4_k::Q4_K;
pub use q5_0::Q5_0;
pub use q5_1::Q5_1;
pub use q5_k::Q5_K;
pub use q6_k::Q6_K;
pub use q8_0::Q8_0;
pub use registry::{DType, FormatVisitor};

use crate::isa::Isa;

/// A storage format: how [`LEN`](Format::LEN) values become [`BYTES`](Format::BYTES) bytes.
///
/// Implementations mark their functions `#[inline(always)]`: the registry compiles the loops over blocks for
/// each instruction set, and only inlined code is compiled with its features.
pub trait Format: Send + Sync + 'static {
    /// Values in a block.
    const LEN: usize;
    /// Bytes in a block.
    const BYTES: usize;
    /// Byte offsets of the little-endian 16-bit fields of a block; a big-endian file has them swapped.
    const U16_FIELDS: &'static [usize];

    /// Writes the `LEN` values of `block` (`BYTES` long) to `out`.
    fn dequantize(block: &[u8], out: &mut [f32]);

    /// Stores the `LEN` values of `x` in `block` (`BYTES` long).
    ///
    /// `importance`, as long as `x`, weighs the squared error of each value; formats that do no search
    /// ignore it.
    fn quantize(x: &[f32], importance: Option<&[f32]>, block: &mut [u8]);
}

/// A format without scales: one value a block, converted to f32 exactly.
pub trait PlainFormat: Format {
    /// The value stored in `bytes` (`BYTES` long).
    fn to_f32(bytes: &[u8]) -> f32;

    /// Stores `x` in `bytes`, each value rounded to the nearest, ties to even.
    fn from_f32s(x: &[f32], bytes: &mut [u8]);

    /// 16 values stored in `bytes` (`16 * BYTES` long), one a lane.
    fn load<S: Isa>(isa: S, bytes: &[u8]) -> S::F;
}

/// A quantized format: `x[i] = scale[g] * q[i] - min[g]` for each value `i` of group `g = i / GROUP`.
pub trait IntFormat: Format {
    /// The integers plus [`ZERO`](Self::ZERO) lie in `0..2^BITS`.
    const BITS: u32;
    /// What makes the integers unsigned: those of formats with minima are.
    const ZERO: i32 = if Self::HAS_MIN { 0 } else { 1 << (Self::BITS - 1) };
    /// Values that share a scale: 16 or 32, a divisor of `LEN`.
    const GROUP: usize;
    /// Whether groups have a minimum; when false `unpack` leaves `min` alone.
    const HAS_MIN: bool;

    /// Takes `block` (`BYTES` long) apart: `q` is `LEN` long, `scale` and `min` are `LEN / GROUP` long.
    ///
    /// Each scale and each minimum is rounded to f32 once.
    fn unpack(block: &[u8], q: &mut [i8], scale: &mut [f32], min: &mut [f32]);
}

/// Values in the longest block.
const MAX_LEN: usize = 256;

/// A block of an [`IntFormat`], taken apart; only the first `LEN` values and `LEN / GROUP` groups count.
pub struct Unpacked {
    /// The integers, in the order of the values.
    pub q: [i8; MAX_LEN],
    /// The scale of each group.
    pub scale: [f32; MAX_LEN / 16],
    /// The minimum of each group; 0 in formats without.
    pub min: [f32; MAX_LEN / 16],
}

impl Unpacked {
    /// A block of zeros.
    pub const ZERO: Self = Self {
        q: [0; MAX_LEN],
        scale: [0.0; MAX_LEN / 16],
        min: [0.0; MAX_LEN / 16],
    };

    /// Takes `block` apart.
    #[inline(always)]
    pub fn set<F: IntFormat>(&mut self, block: &[u8]) {
        let groups = F::LEN / F::GROUP;
        F::unpack(
            block,
            &mut self.q[..F::LEN],
            &mut self.scale[..groups],
            &mut self.min[..groups],
        );
    }
}

/// [`Format::dequantize`] for every [`IntFormat`]: `x = scale * q - min`, each operation rounded to f32.
#[inline(always)]
fn dequantize_int<F: IntFormat>(block: &[u8], out: &mut [f32]) {
    let mut w = Unpacked::ZERO;
    w.set::<F>(block);
    for (g, out) in out.chunks_exact_mut(F::GROUP).enumerate() {
        for (x, &q) in out.iter_mut().zip(&w.q[g * F::GROUP..]) {
            *x = w.scale[g] * f32::from(q);
            if F::HAS_MIN {
                *x -= w.min[g];
            }
        }
    }
}

/// The little-endian f16 at `at`, as f32.
#[inline(always)]
fn read_f16(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Stores `x`, rounded to f16 (ties to even), little-endian at `at`.
#[inline(always)]
fn write_f16(block: &mut [u8], at: usize, x: f32) {
    block[at..at + 2].copy_from_slice(&half::f16::from_f32(x).to_le_bytes());
}

/// The largest magnitude, or NaN when there is a NaN.
#[inline(always)]
fn magnitude(x: &[f32]) -> f32 {
    // Without the sign, floats are ordered as their bits are; and integers need no order of operations.
    f32::from_bits(x.iter().fold(0, |m, v| m.max(v.abs().to_bits())))
}

/// The first of the values of largest magnitude.
#[inline(always)]
fn extreme(x: &[f32]) -> f32 {
    let most = magnitude(x);
    x.iter().copied().find(|v| v.abs() == most).unwrap_or(most)
}

/// The least and the greatest value, where -0 is less than 0.
#[inline(always)]
fn range(x: &[f32]) -> (f32, f32) {
    // Flipping the magnitude of negative floats orders all bits as signed integers; doing so twice changes nothing.
    let ordered = |bits: i32| bits ^ (bits >> 31 & i32::MAX);
    let (least, greatest) = x.iter().fold((i32::MAX, i32::MIN), |(least, greatest), v| {
        let v = ordered(v.to_bits() as i32);
        (least.min(v), greatest.max(v))
    });
    (
        f32::from_bits(ordered(least) as u32),
        f32::from_bits(ordered(greatest) as u32),
    )
}

/// `1 / d`, or 0 for a scale of 0; infinite when `d` is so small that the quotient overflows.
#[inline(always)]
fn reciprocal(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The whole part of each `level(i)`, at most `top`; 0 where it is negative or infinite.
#[inline(always)]
fn truncate(level: impl Fn(usize) -> f32, top: u8) -> [u8; 32] {
    std::array::from_fn(|i| whole(level(i)).min(top))
}

/// The whole part of `v` when that lies in `0..=255`, else 0.
#[inline(always)]
fn whole(v: f32) -> u8 {
    // From 2^23 to 2^24 floats are the integers, so the sum is rounded to one, and its last bits are the
    // integer's. Unlike a cast, this is the same few operations in every lane of a vector.
    const INTEGERS: f32 = 8_388_608.0;
    let v = if v > 0.0 { v } else { 0.0 };
    let v = if v < 256.0 { v } else { 0.0 };
    let rounded = v + INTEGERS;
    let down = if rounded - INTEGERS > v {
        rounded - 1.0
    } else {
        rounded
    };
    down.to_bits() as u8
}

/// Bytes that hold `q[i]` in the low nibble and `q[i + 16]` in the high one.
#[inline(always)]
fn pack_halves(q: &[u8; 32], bytes: &mut [u8]) {
    for (i, byte) in bytes[..16].iter_mut().enumerate() {
        *byte = q[i] & 15 | q[i + 16] << 4;
    }
}
