//! AVX2 with FMA and F16C: bytes multiplied in pairs into 16-bit sums.

use super::ymm::{Multiply, Ymm};
use crate::isa::Kernel;
use std::arch::asm;
use std::arch::x86_64::*;

/// The AVX2 level.
pub type Avx2 = Ymm<Maddubs>;

/// Proof that the CPU has AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maddubs(());

/// Compiles `kernel` with the features that [`Avx2`] proves.
#[target_feature(enable = "avx2,fma,f16c")]
fn with_features<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
    kernel.call(isa)
}

/// Sums are of 16 bits, two a lane; for weights of 8 bits, which need more, of 32.
impl Multiply for Maddubs {
    const NR: usize = 6;
    const SIGNED_WEIGHTS: bool = true;

    fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    #[inline]
    fn run<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
        // SAFETY: the features were detected.
        unsafe { with_features(isa, kernel) }
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: __m256i, w: __m256i, x: __m256i, bits: u32) -> __m256i {
        // SAFETY: the features were detected.
        unsafe {
            if bits < 8 {
                _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x))
            } else {
                _mm256_add_epi32(sum, centred(w, x))
            }
        }
    }

    /// Each `dot` adds two products to a 16-bit sum.
    #[inline(always)]
    fn max_accumulate(bits: u32) -> usize {
        if bits == 8 {
            usize::MAX
        } else {
            i16::MAX as usize / (2 * 127 * ((1 << bits) - 1))
        }
    }

    #[inline(always)]
    fn optimization_barrier(self, sums: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the features were detected.
        unsafe { settled(sums) }
    }

    #[inline(always)]
    fn dot_widen(self, sum: __m256i, bits: u32) -> __m256i {
        if bits == 8 {
            return sum;
        }
        // SAFETY: the features were detected.
        unsafe { _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) }
    }
}

/// The dot products of four bytes of `w - 128` with `x`, as
/// `|w - 128| * (x with the sign of w - 128)`: two products stay below `2 * 128 * 127 < 2^15`, so
/// nothing saturates.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn centred(w: __m256i, x: __m256i) -> __m256i {
    let w = _mm256_xor_si256(w, _mm256_set1_epi8(i8::MIN));
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// `sums`, in registers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn settled([mut low, mut high]: [__m256i; 2]) -> [__m256i; 2] {
    // SAFETY: no instruction at all; the registers go in and come out.
    unsafe {
        asm!("/* {0} {1} */", inout(ymm_reg) low, inout(ymm_reg) high, options(nomem, nostack, preserves_flags));
    }
    [low, high]
}
