//! AVX2 with FMA and F16C: 16 lanes in two registers of eight.

use crate::isa::{Isa, Kernel, LANES};
use std::arch::asm;
use std::arch::x86_64::*;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The token, on a CPU that has the features.
    pub fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        found.then_some(Self(()))
    }
}

/// Compiles `kernel` with the features that [`Avx2`] proves.
#[target_feature(enable = "avx2,fma,f16c")]
fn with_features<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
    kernel.call(isa)
}

// SAFETY, for every block below: `self` exists only where `Avx2::detect` found the features, and each
// pointer comes from an array reference at least as long as the access; loads and stores are unaligned ones.
impl Isa for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];
    /// 16-bit sums, two a lane; for weights of 8 bits, which need more, 32-bit ones.
    type P = [__m256i; 2];

    const REGISTERS: usize = 8;
    const COLUMNS: usize = 6;
    const CENTERS_BYTES: bool = true;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the features were detected.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        // SAFETY: the features were detected; both loads lie within the array.
        unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::F {
        // SAFETY: the features were detected; both unaligned loads lie within the array.
        unsafe {
            [
                _mm256_loadu_ps(x.as_ptr().cast()),
                _mm256_loadu_ps(x.as_ptr().add(32).cast()),
            ]
        }
    }

    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F {
        // SAFETY: the features were detected; both unaligned loads lie within the array.
        unsafe {
            let (low, high) = (x.as_ptr().cast(), x.as_ptr().add(16).cast());
            [
                _mm256_cvtph_ps(_mm_loadu_si128(low)),
                _mm256_cvtph_ps(_mm_loadu_si128(high)),
            ]
        }
    }

    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: the features were detected; both unaligned loads of eight bytes lie within the array.
        unsafe {
            let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(x.as_ptr().cast()));
            let high = _mm256_cvtepi8_epi32(_mm_loadl_epi64(x.as_ptr().add(8).cast()));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
    }

    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F {
        // SAFETY: the features were detected; both unaligned loads lie within the array.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().add(16).cast()));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        }
    }

    #[inline(always)]
    fn load_u8(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: the features were detected; both unaligned loads of eight bytes lie within the array.
        unsafe {
            let (low, high) = (x.as_ptr().cast(), x.as_ptr().add(8).cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(low))),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(high))),
            ]
        }
    }

    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; LANES]) {
        // SAFETY: the features were detected; both stores lie within the array.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), x[1]);
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }

    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        // SAFETY: the features were detected.
        unsafe {
            let eight = _mm256_add_ps(x[0], x[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    /// Each `dot` adds two products to a 16-bit sum.
    #[inline(always)]
    fn capacity(bits: u32) -> usize {
        if bits == 8 {
            usize::MAX
        } else {
            i16::MAX as usize / (2 * 127 * ((1 << bits) - 1))
        }
    }

    #[inline(always)]
    fn load_bytes(self, w: &[u8; 4 * LANES]) -> Self::B {
        // SAFETY: the features were detected; both unaligned loads lie within the array.
        unsafe {
            [
                _mm256_loadu_si256(w.as_ptr().cast()),
                _mm256_loadu_si256(w.as_ptr().add(32).cast()),
            ]
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn field(self, w: Self::B, shift: i32, mask: u8) -> Self::B {
        // SAFETY: the features were detected.
        unsafe {
            let (count, mask) = (_mm_cvtsi32_si128(shift.abs()), _mm256_set1_epi8(mask as i8));
            let shifted = if shift < 0 {
                [_mm256_sll_epi16(w[0], count), _mm256_sll_epi16(w[1], count)]
            } else {
                [_mm256_srl_epi16(w[0], count), _mm256_srl_epi16(w[1], count)]
            };
            [
                _mm256_and_si256(shifted[0], mask),
                _mm256_and_si256(shifted[1], mask),
            ]
        }
    }

    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        // SAFETY: the features were detected.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn begin(self) -> Self::P {
        // SAFETY: the features were detected.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn dot(self, sum: Self::P, w: Self::B, x: [i8; 4], bits: u32) -> Self::P {
        // SAFETY: the features were detected.
        unsafe {
            let x = _mm256_set1_epi32(i32::from_ne_bytes([
                x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8,
            ]));
            if bits < 8 {
                [
                    _mm256_add_epi16(sum[0], _mm256_maddubs_epi16(w[0], x)),
                    _mm256_add_epi16(sum[1], _mm256_maddubs_epi16(w[1], x)),
                ]
            } else {
                [
                    _mm256_add_epi32(sum[0], centred(w[0], x)),
                    _mm256_add_epi32(sum[1], centred(w[1], x)),
                ]
            }
        }
    }

    #[inline(always)]
    fn settle(self, sum: Self::P) -> Self::P {
        // SAFETY: the features were detected.
        unsafe { settled(sum) }
    }

    #[inline(always)]
    fn end(self, sum: Self::P, bits: u32) -> Self::I {
        if bits == 8 {
            return sum;
        }
        // SAFETY: the features were detected.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            [_mm256_madd_epi16(sum[0], ones), _mm256_madd_epi16(sum[1], ones)]
        }
    }

    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        // SAFETY: the features were detected.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }

    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the features were detected.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn to_f32(self, x: Self::I) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])] }
    }
}

/// The dot products of four bytes of `w - 128` with `x`, as `|w - 128| * (x with the sign of w - 128)`: two products stay
/// below `2 * 128 * 127 < 2^15`, so nothing saturates.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn centred(w: __m256i, x: __m256i) -> __m256i {
    let w = _mm256_xor_si256(w, _mm256_set1_epi8(i8::MIN));
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// `sum`, in registers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn settled([mut low, mut high]: [__m256i; 2]) -> [__m256i; 2] {
    // SAFETY: no instruction at all; the registers go in and come out.
    unsafe {
        asm!("/* {0} {1} */", inout(ymm_reg) low, inout(ymm_reg) high, options(nomem, nostack, preserves_flags));
    }
    [low, high]
}
