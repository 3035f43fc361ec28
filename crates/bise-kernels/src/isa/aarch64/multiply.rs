//! The products of bytes that AArch64 has: long multiplication everywhere, dot products of signed
//! bytes (`dotprod`), and of unsigned with signed ones (`i8mm`). The dot products are in assembly,
//! as their intrinsics are not stable.

use super::neon::{Multiply, Neon};
use crate::isa::Kernel;
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

/// The level of every AArch64 machine.
pub type Smull = Neon<LongProducts>;

/// The level of Armv8.2's dot products.
pub type Dotprod = Neon<SignedDots>;

/// The level of Armv8.6's dot products of mixed signs.
pub type I8mm = Neon<MixedDots>;

/// Weights as signed bytes: those of 8 bits become `w - 128`, smaller ones are the same signed.
#[inline]
#[target_feature(enable = "neon")]
fn signed(w: uint8x16_t, bits: u32) -> int8x16_t {
    let w = if bits == 8 {
        veorq_u8(w, vdupq_n_u8(0x80))
    } else {
        w
    };
    vreinterpretq_s8_u8(w)
}

/// No features besides NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongProducts(());

/// Compiles `kernel` with the features that [`Smull`] proves.
#[target_feature(enable = "neon")]
fn with_neon<K: Kernel>(isa: Smull, kernel: K) -> K::Output {
    kernel.call(isa)
}

impl Multiply for LongProducts {
    const SIGNED_WEIGHTS: bool = true;

    fn detect() -> Option<Self> {
        Some(Self(()))
    }

    #[inline]
    fn run<K: Kernel>(isa: Smull, kernel: K) -> K::Output {
        // SAFETY: NEON was detected.
        unsafe { with_neon(isa, kernel) }
    }

    /// Two products stay within `2 * 128 * 127 < 2^15`, so that pairs add up in 16 bits.
    #[inline(always)]
    fn dot_accumulate(self, sum: int32x4_t, w: uint8x16_t, x: int8x16_t, bits: u32) -> int32x4_t {
        // SAFETY: NEON was detected.
        unsafe {
            let w = signed(w, bits);
            let (low, high) = (vmull_s8(vget_low_s8(w), vget_low_s8(x)), vmull_high_s8(w, x));
            vpadalq_s16(sum, vpaddq_s16(low, high))
        }
    }
}

/// Proof that the CPU has `sdot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedDots(());

/// Compiles `kernel` with the features that [`Dotprod`] proves.
#[target_feature(enable = "neon,dotprod")]
fn with_dotprod<K: Kernel>(isa: Dotprod, kernel: K) -> K::Output {
    kernel.call(isa)
}

impl Multiply for SignedDots {
    const SIGNED_WEIGHTS: bool = true;

    fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }

    #[inline]
    fn run<K: Kernel>(isa: Dotprod, kernel: K) -> K::Output {
        // SAFETY: the features were detected.
        unsafe { with_dotprod(isa, kernel) }
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: int32x4_t, w: uint8x16_t, x: int8x16_t, bits: u32) -> int32x4_t {
        // SAFETY: the features were detected.
        unsafe { sdot(sum, signed(w, bits), x) }
    }
}

/// Adds to each lane the dot product of its four bytes of `w` and `x`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled; the instruction touches the three registers only.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sum, in(vreg) w, in(vreg) x, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// Proof that the CPU has `usdot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixedDots(());

/// Compiles `kernel` with the features that [`I8mm`] proves.
#[target_feature(enable = "neon,i8mm")]
fn with_i8mm<K: Kernel>(isa: I8mm, kernel: K) -> K::Output {
    kernel.call(isa)
}

impl Multiply for MixedDots {
    const SIGNED_WEIGHTS: bool = false;

    fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("i8mm").then_some(Self(()))
    }

    #[inline]
    fn run<K: Kernel>(isa: I8mm, kernel: K) -> K::Output {
        // SAFETY: the features were detected.
        unsafe { with_i8mm(isa, kernel) }
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: int32x4_t, w: uint8x16_t, x: int8x16_t, _: u32) -> int32x4_t {
        // SAFETY: the features were detected.
        unsafe { usdot(sum, w, x) }
    }
}

/// Adds to each lane the dot product of its four bytes of `w` and `x`.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn usdot(mut sum: int32x4_t, w: uint8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled; the instruction touches the three registers only.
    unsafe {
        asm!("usdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sum, in(vreg) w, in(vreg) x, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}
