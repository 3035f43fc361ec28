//! The storage formats of GGUF tensors: one file per format, one line in `registry` for each.
//!
//! A tensor row is a whole number of *blocks*. A format says how many values a block holds, how
//! many bytes it takes, and how the two turn into each other. Quantized formats also say how a
//! block falls apart into small integers and scales ([`IntFormat`], or [`CodebookFormat`] when that
//! takes more than cutting out bits), which is all that the kernels need to know.

// The formats bear the names that GGML gives them.
#![allow(non_camel_case_types)]

mod coded;
mod f8_e4m3;
mod iq4_nl;
mod iq4_xs;
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

pub use coded::{
    CodebookFormat, DecodedBlock, IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS, Integers,
    MXFP4, NVFP4, Q1_0, Q2_0, TQ1_0, TQ2_0, ZERO as CODEBOOK_ZERO,
};
pub use f8_e4m3::F8_E4M3;
pub use iq4_nl::IQ4_NL;
pub use iq4_xs::IQ4_XS;
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
use half::f16;

/// A storage format: how [`LEN`](Format::LEN) values become [`BYTES`](Format::BYTES) bytes.
///
/// Implementations mark their functions `#[inline(always)]`: the registry compiles the loops over
/// blocks for each instruction set, and only inlined code is compiled with its features.
pub trait Format: Send + Sync + 'static {
    /// Values in a block.
    const LEN: usize;
    /// Bytes in a block.
    const BYTES: usize;
    /// Byte offsets of the little-endian 16-bit fields of a block; a big-endian file has them
    /// swapped.
    const U16_FIELDS: &'static [usize];
    /// Byte offsets of its little-endian 32-bit fields.
    const U32_FIELDS: &'static [usize] = &[];

    /// Whether values are stored in it here; others are only read, and have no
    /// [`quantize`](Self::quantize).
    const WRITTEN: bool = true;

    /// Writes the `LEN` values of `block` (`BYTES` long) to `out`.
    fn dequantize(block: &[u8], out: &mut [f32]);

    /// Stores the `LEN` values of `x` in `block` (`BYTES` long).
    ///
    /// `importance`, as long as `x`, weighs the squared error of each value; formats that do no
    /// search ignore it.
    fn quantize(_x: &[f32], _importance: Option<&[f32]>, _block: &mut [u8]) {
        unreachable!("the format is only read");
    }
}

/// A format of one value a block, converted to f32 exactly.
pub trait PlainFormat: Format {
    /// Whether values are multiples of scales that their tensor has.
    const SCALED: bool = false;

    /// The value stored in `bytes` (`BYTES` long).
    fn to_f32(bytes: &[u8]) -> f32;

    /// 16 values stored in `bytes` (`16 * BYTES` long), one a lane.
    fn load<S: Isa>(isa: S, bytes: &[u8]) -> S::F;
}

/// A [`PlainFormat`] that many values are stored in at a time.
pub trait RoundedFormat: PlainFormat {
    /// Stores `x` in `bytes`, each value rounded to the nearest, ties to even.
    fn from_f32s(x: &[f32], bytes: &mut [u8]);
}

/// Neighbouring values that share a scale: all that a kernel has to know of a format when its
/// weights are unpacked to unsigned bytes. Formats do not implement it; they name a [`Symmetric`]
/// or an [`Affine`] one.
pub trait SubBlockSpec: Send + Sync + 'static {
    /// Values that share a scale: 16 or 32.
    const LEN: usize;
    /// Integers lie in `0..2^BITS`.
    const BITS: u32;
    /// Whether there is a minimum besides the scale.
    const HAS_MIN: bool;
    /// The integer that stands for 0.
    const ZERO: i32 = if Self::HAS_MIN { 0 } else { 1 << (Self::BITS - 1) };
    /// Nothing, or an error of the compiler when kernels have no such sub-blocks.
    const CHECKED: () =
        assert!((Self::LEN == 16 || Self::LEN == 32) && 0 < Self::BITS && Self::BITS <= 8);
}

/// `LEN` values `x = scale * (q - 2^(BITS - 1))`.
pub struct Symmetric<const LEN: usize, const BITS: u32>;

impl<const LEN: usize, const BITS: u32> SubBlockSpec for Symmetric<LEN, BITS> {
    const LEN: usize = LEN;
    const BITS: u32 = BITS;
    const HAS_MIN: bool = false;
}

/// `LEN` values `x = scale * q - min`.
pub struct Affine<const LEN: usize, const BITS: u32>;

impl<const LEN: usize, const BITS: u32> SubBlockSpec for Affine<LEN, BITS> {
    const LEN: usize = LEN;
    const BITS: u32 = BITS;
    const HAS_MIN: bool = true;
}

/// A quantized format: each value `i`, in sub-block `g = i / SUB_BLOCK`, is
///
/// ```text
/// x[i]     = scale[g] * (q[i] - ZERO) - min[g]
/// scale[g] = d * (sub_scale[g] - SUB_SCALE_ZERO)
/// min[g]   = dmin * sub_min[g]
/// ```
///
/// with unsigned integers `q`, and `scale` and `min` rounded to f32 once. Where there is a `TABLE`,
/// `TABLE[q[i]]` stands in for `q[i]`.
pub trait IntFormat: Format {
    /// What shares a scale: [`Symmetric`] or [`Affine`] integers. Formats with the same are
    /// multiplied by the same machine code, and a new one is compiled because a format names it.
    type SubBlocks: SubBlockSpec;
    /// What the integers stand for, in formats where they are places in a table.
    const TABLE: Option<[u8; 16]> = None;

    /// Integers, or the entries of the table, lie in `0..2^WIDTH`.
    const WIDTH: u32 = <Self::SubBlocks as SubBlockSpec>::BITS;
    /// Stored integers lie in `0..2^BITS`: 2, 3, 4, 5, 6 or 8.
    const BITS: u32 = if Self::TABLE.is_some() { 4 } else { Self::WIDTH };
    /// The integer or entry that stands for 0.
    const ZERO: i32 = <Self::SubBlocks as SubBlockSpec>::ZERO;
    /// Values that share a scale, a divisor of `LEN`.
    const SUB_BLOCK: usize = <Self::SubBlocks as SubBlockSpec>::LEN;
    /// Whether sub-blocks have a minimum.
    const HAS_MIN: bool = <Self::SubBlocks as SubBlockSpec>::HAS_MIN;
    /// The integer scales and minima of sub-blocks lie in `0..2^SUB_SCALE_BITS`: 4, 6 or 8 bits; 0
    /// for formats of one sub-block a block, which have none.
    const SUB_SCALE_BITS: u32 = 0;
    /// The integer scale that stands for 0.
    const SUB_SCALE_ZERO: u8 = 0;

    /// Unpacks `block`, `BYTES` long; what the format does not have it leaves alone.
    fn unpack(block: &[u8], unpacked: &mut UnpackedBlock);

    /// The number that scales multiply, of the stored integer `q`.
    #[inline(always)]
    fn number(q: u8) -> i32 {
        let unsigned = match Self::TABLE {
            None => q,
            Some(table) => table[usize::from(q & 15)],
        };
        i32::from(unsigned) - Self::ZERO
    }
}

/// Values in the longest block.
const MAX_LEN: usize = 256;
/// Sub-blocks in a block of the most.
pub(crate) const MAX_SUB_BLOCKS: usize = MAX_LEN / 16;

/// A block of an [`IntFormat`], unpacked; only the first `LEN` values and `LEN / SUB_BLOCK`
/// sub-blocks count.
pub struct UnpackedBlock {
    /// What the scales are multiples of.
    pub d: f16,
    /// What the minima are multiples of; 0 in formats without.
    pub dmin: f16,
    /// The integer scale of each sub-block; 1 in formats that have none.
    pub sub_scale: [u8; MAX_SUB_BLOCKS],
    /// The integer minimum of each sub-block; 1 in formats that have none.
    pub sub_min: [u8; MAX_SUB_BLOCKS],
    /// The integers, in the order of the values.
    pub q: [u8; MAX_LEN],
}

impl UnpackedBlock {
    /// A block of which every value is 0.
    pub const ZERO: Self = Self {
        d: f16::ZERO,
        dmin: f16::ZERO,
        sub_scale: [1; MAX_SUB_BLOCKS],
        sub_min: [1; MAX_SUB_BLOCKS],
        q: [0; MAX_LEN],
    };

    /// The scale of sub-block `g`.
    #[inline(always)]
    pub fn scale<F: IntFormat>(&self, g: usize) -> f32 {
        self.d.to_f32() * (f32::from(self.sub_scale[g]) - f32::from(F::SUB_SCALE_ZERO))
    }

    /// The minimum of sub-block `g`.
    #[inline(always)]
    pub fn min<F: IntFormat>(&self, g: usize) -> f32 {
        self.dmin.to_f32() * f32::from(self.sub_min[g])
    }
}

/// [`Format::dequantize`] for every [`IntFormat`]: `x = scale * q - min`, each operation rounded to
/// f32.
#[inline(always)]
fn dequantize_int<F: IntFormat>(block: &[u8], out: &mut [f32]) {
    let mut w = UnpackedBlock::ZERO;
    F::unpack(block, &mut w);
    for (g, out) in out.chunks_exact_mut(F::SUB_BLOCK).enumerate() {
        let (scale, min) = (w.scale::<F>(g), w.min::<F>(g));
        for (x, &q) in out.iter_mut().zip(&w.q[g * F::SUB_BLOCK..]) {
            *x = scale * F::number(q) as f32;
            if F::HAS_MIN {
                *x -= min;
            }
        }
    }
}

/// The little-endian f16 at `at`.
#[inline(always)]
fn read_f16(block: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([block[at], block[at + 1]])
}

/// Stores `x`, rounded to f16 (ties to even), little-endian at `at`.
#[inline(always)]
fn write_f16(block: &mut [u8], at: usize, x: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(x).to_le_bytes());
}

/// The largest magnitude, or NaN when there is a NaN.
#[inline(always)]
fn magnitude(x: &[f32]) -> f32 {
    // Without the sign, floats are ordered as their bits are; and integers need no order of
    // operations.
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
    // Flipping the magnitude of negative floats orders all bits as signed integers; doing so twice
    // changes nothing.
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
    // From 2^23 to 2^24 floats are the integers, so the sum is rounded to one, and its last bits
    // are the integer's. Unlike a cast, this is the same few operations in every lane of a vector.
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

/// Reads 32 values from bytes that hold value `i` in the low nibble and value `i + 16` in the high
/// one.
#[inline(always)]
fn unpack_halves(bytes: &[u8], q: &mut [u8]) {
    for (i, byte) in bytes[..16].iter().enumerate() {
        q[i] = byte & 15;
        q[i + 16] = byte >> 4;
    }
}

/// Bytes that hold `q[i]` in the low nibble and `q[i + 16]` in the high one.
#[inline(always)]
fn pack_halves(q: &[u8; 32], bytes: &mut [u8]) {
    for (i, byte) in bytes[..16].iter_mut().enumerate() {
        *byte = q[i] & 15 | q[i + 16] << 4;
    }
}
