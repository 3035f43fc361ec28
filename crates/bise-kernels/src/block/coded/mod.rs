//! Formats whose blocks name entries of a codebook, or pack digits: what a block stores is not what
//! the kernels multiply.
//!
//! They are read and not written. Each value `i`, in sub-block `g = i / SUB_BLOCK`, is
//!
//! ```text
//! x[i] = scale[g] * (q[i] - ZERO)
//! ```
//!
//! with integers `q` below `2^BITS` and `scale` rounded to f32 once: for every format here the
//! products are exact.

mod codebook;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod mxfp4;
mod nvfp4;
mod q1_0;
mod q2_0;
mod tq1_0;
mod tq2_0;

pub use iq1_m::IQ1_M;
pub use iq1_s::IQ1_S;
pub use iq2_s::IQ2_S;
pub use iq2_xs::IQ2_XS;
pub use iq2_xxs::IQ2_XXS;
pub use iq3_s::IQ3_S;
pub use iq3_xxs::IQ3_XXS;
pub use mxfp4::MXFP4;
pub use nvfp4::NVFP4;
pub use q1_0::Q1_0;
pub use q2_0::Q2_0;
pub use tq1_0::TQ1_0;
pub use tq2_0::TQ2_0;

use super::{MAX_LEN, MAX_SUB_BLOCKS, SubBlockSpec};

/// Bits of the integers of every [`CodebookFormat`]: magnitudes go up to 62.
pub const BITS: u32 = 7;
/// The integer that stands for 0.
pub const ZERO: u8 = 1 << (BITS - 1);

/// A quantized format that is unpacked to bytes before it is multiplied.
///
/// Implementations mark their functions `#[inline(always)]`, as those of [`super::Format`] do.
pub trait CodebookFormat: Send + Sync + 'static {
    /// What shares a scale: [`Symmetric`](super::Symmetric) integers of `BITS`.
    type SubBlocks: SubBlockSpec;

    /// Values in a block.
    const LEN: usize;
    /// Bytes in a block.
    const BYTES: usize;
    /// Byte offsets of the little-endian 16-bit fields of a block; a big-endian file has them
    /// swapped.
    const U16_FIELDS: &'static [usize];
    /// Values that share a scale: 16 or 32, a divisor of `LEN`.
    const SUB_BLOCK: usize = <Self::SubBlocks as SubBlockSpec>::LEN;

    /// Decodes `block`, `BYTES` long: the scales of its sub-blocks, and all its integers, put to
    /// `q` eight at a time.
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers);
}

/// A place for the integers of a block.
pub trait Integers {
    /// Takes the integers of values `8 i .. 8 i + 8`.
    fn put(&mut self, i: usize, q: [u8; 8]);
}

/// A block of a [`CodebookFormat`], decoded; only the first `LEN` values and `LEN / SUB_BLOCK`
/// sub-blocks count.
pub struct DecodedBlock {
    /// The scale of each sub-block.
    pub scale: [f32; MAX_SUB_BLOCKS],
    /// The integers, in the order of the values.
    pub q: [u8; MAX_LEN],
}

impl DecodedBlock {
    /// Decodes `block`, `BYTES` long.
    #[inline(always)]
    pub fn new<F: CodebookFormat>(block: &[u8]) -> Self {
        const { assert!(F::SubBlocks::ZERO == ZERO as i32 && !F::SubBlocks::HAS_MIN) }
        struct Row([u8; MAX_LEN]);

        impl Integers for Row {
            #[inline(always)]
            fn put(&mut self, i: usize, q: [u8; 8]) {
                self.0[8 * i..8 * i + 8].copy_from_slice(&q);
            }
        }

        let (mut scale, mut q) = ([0.0; MAX_SUB_BLOCKS], Row([ZERO; MAX_LEN]));
        F::decode(block, &mut scale, &mut q);
        Self { scale, q: q.0 }
    }
}

/// Writes the `LEN` values of `block` (`BYTES` long) to `out`.
#[inline(always)]
pub(super) fn dequantize<F: CodebookFormat>(block: &[u8], out: &mut [f32]) {
    let w = DecodedBlock::new::<F>(block);
    for (g, out) in out.chunks_exact_mut(F::SUB_BLOCK).enumerate() {
        for (x, &q) in out.iter_mut().zip(&w.q[g * F::SUB_BLOCK..]) {
            *x = w.scale[g] * f32::from(q as i8 - ZERO as i8);
        }
    }
}

/// Puts `q`, whole eights, to `to` from value `first` on.
#[inline(always)]
fn put_all(to: &mut impl Integers, first: usize, q: &[u8]) {
    for (i, eight) in q.as_chunks::<8>().0.iter().enumerate() {
        to.put(first / 8 + i, *eight);
    }
}

/// The little-endian integer of 16 bits at `at`.
#[inline(always)]
fn read_u16(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// The little-endian integer of 32 bits at `at`.
#[inline(always)]
fn read_u32(block: &[u8], at: usize) -> u32 {
    u32::from(read_u16(block, at)) | u32::from(read_u16(block, at + 2)) << 16
}

/// Nibble `i` of `bytes`, low ones first.
#[inline(always)]
fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 2] >> (i % 2 * 4) & 15
}
