//! AVX-512 with VNNI: 16 lanes in one register.

use super::ymm::{HALF_TO_E4M3, halves_of_e4m3};
use crate::isa::{Isa, Kernel, LANES};
use std::arch::asm;
use std::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, BW, VL, DQ and VNNI, and what [`super::Avx2`] proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// The token, on a CPU that has the features.
    pub fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni")
            && super::Avx2::detect().is_some();
        found.then_some(Self(()))
    }
}

/// Compiles `kernel` with the features that [`Avx512`] proves.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn with_features<K: Kernel>(isa: Avx512, kernel: K) -> K::Output {
    kernel.call(isa)
}

// SAFETY, for every block below: `self` exists only where `Avx512::detect` found the features, and
// each pointer comes from an array reference at least as long as the access; loads and stores are
// unaligned ones.
impl Isa for Avx512 {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;
    type P = __m512i;

    const MANY_ACCUMULATORS: bool = true;
    const NR: usize = 6;
    const GEMV_NR: usize = 8;
    /// A value that is spread over a register serves two multiplications: alone, each of them would
    /// wait for a load.
    const WEIGHT_VECTORS: usize = 2;
    const SIGNED_WEIGHTS: bool = false;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the features were detected.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        // SAFETY: the features were detected; the load is the array.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe { _mm512_loadu_ps(x.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    fn load_e4m3(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe {
            let halves = halves_of_e4m3(_mm_loadu_si128(x.as_ptr().cast()));
            _mm512_mul_ps(_mm512_cvtph_ps(halves), _mm512_set1_ps(HALF_TO_E4M3))
        }
    }

    #[inline(always)]
    fn load_u8(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(x.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn broadcast_half(self, x: &[f32; LANES / 2]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe { _mm512_broadcast_f32x8(_mm256_loadu_ps(x.as_ptr())) }
    }

    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; LANES]) {
        // SAFETY: the features were detected; the store is the array.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max_abs(self, most: Self::F, x: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe {
            let (x, most) = (_mm512_castps_si512(_mm512_abs_ps(x)), _mm512_castps_si512(most));
            _mm512_castsi512_ps(_mm512_max_epi32(x, most))
        }
    }

    #[inline(always)]
    fn reduce_max(self, x: Self::F) -> f32 {
        // SAFETY: the features were detected.
        unsafe {
            let x = _mm512_castps_si512(x);
            let eight =
                _mm256_max_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x));
            let four = _mm_max_epi32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            let two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
            let one = _mm_max_epi32(two, _mm_shuffle_epi32::<1>(two));
            f32::from_bits(_mm_cvtsi128_si32(one) as u32)
        }
    }

    #[inline(always)]
    fn reduce_sum(self, x: Self::F) -> f32 {
        // SAFETY: the features were detected.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    fn max_accumulate(_: u32) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn load_bytes(self, w: &[u8; 4 * LANES]) -> Self::B {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe { _mm512_loadu_si512(w.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_bytes(self, w: Self::B, out: &mut [u8; 4 * LANES]) {
        // SAFETY: the features were detected; the unaligned store is the array.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), w) }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn prefetch_second(self, at: *const u8) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    fn shift_mask(self, w: Self::B, shift: i32, mask: u8) -> Self::B {
        // SAFETY: the features were detected.
        unsafe {
            let count = _mm_cvtsi32_si128(shift.abs());
            let shifted = if shift < 0 {
                _mm512_sll_epi16(w, count)
            } else {
                _mm512_srl_epi16(w, count)
            };
            _mm512_and_si512(shifted, _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        // SAFETY: the features were detected.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], places: Self::B) -> Self::B {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, places)
        }
    }

    #[inline(always)]
    fn dot_zero(self) -> Self::P {
        // SAFETY: the features were detected.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn dot_start(self, start: i32, _: u32) -> (Self::P, Self::I) {
        (
            self.optimization_barrier(self.splat_int(start)),
            self.splat_int(0),
        )
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: Self::P, w: Self::B, x: [i8; 4], _: u32) -> Self::P {
        // SAFETY: the features were detected.
        unsafe {
            let x = i32::from_ne_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]);
            _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x))
        }
    }

    #[inline(always)]
    fn optimization_barrier(self, sum: Self::P) -> Self::P {
        // SAFETY: the features were detected.
        unsafe { settled(sum) }
    }

    #[inline(always)]
    fn dot_widen(self, sum: Self::P, _: u32) -> Self::I {
        sum
    }

    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        // SAFETY: the features were detected.
        unsafe { _mm512_set1_epi32(x) }
    }

    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the features were detected.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn to_f32(self, x: Self::I) -> Self::F {
        // SAFETY: the features were detected.
        unsafe { _mm512_cvtepi32_ps(x) }
    }
}

/// `sum`, in a register.
#[inline]
#[target_feature(enable = "avx512f")]
fn settled(mut sum: __m512i) -> __m512i {
    // SAFETY: no instruction at all; the register goes in and comes out.
    unsafe {
        asm!("/* {0} */", inout(zmm_reg) sum, options(nomem, nostack, preserves_flags));
    }
    sum
}
