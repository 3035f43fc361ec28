//! What the levels with 256-bit registers share: 16 lanes in two registers of eight, by AVX2, FMA
//! and F16C.

use crate::isa::{Isa, Kernel, LANES};
use std::arch::x86_64::*;
use std::fmt::Debug;

/// What a float of E4M3 is times the f16 that [`halves_of_e4m3`] makes of it: 2^(15 - 7), by which
/// the exponents of both are off.
pub(super) const HALF_TO_E4M3: f32 = 256.0;

/// Floats of E4M3 as f16 of the same sign, exponent and fraction; the product with
/// [`HALF_TO_E4M3`] is exact, as both have values below 2^-6 the same way.
///
/// ```text
/// E4M3    s eeee mmm
/// f16     s 0eeee mmm0000000
/// ```
///
/// Of NaN all bits of the magnitude are set: with one more in the last of them, the carry is what
/// the exponent lacks to be NaN's.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn halves_of_e4m3(x: __m128i) -> __m256i {
    const EXPONENT: i16 = 0x4000;
    let doubly_signed = _mm256_slli_epi16::<7>(_mm256_cvtepi8_epi16(x));
    let value = _mm256_and_si256(doubly_signed, _mm256_set1_epi16(!EXPONENT));
    let carry = _mm256_add_epi16(value, _mm256_set1_epi16(1 << 7));
    _mm256_or_si256(value, _mm256_and_si256(carry, _mm256_set1_epi16(EXPONENT)))
}

/// Proof that the CPU has AVX2, FMA and F16C, and what `M` multiplies bytes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ymm<M>(M);

/// How a level multiplies bytes: all that tells the 256-bit levels apart. A value proves that the
/// CPU can.
///
/// What is not overridden suits 32-bit sums of unsigned bytes, as VNNI has them.
pub trait Multiply: Copy + Debug + Eq + Send + Sync + 'static {
    /// [`Isa::NR`].
    const NR: usize;
    /// [`Isa::SIGNED_WEIGHTS`].
    const SIGNED_WEIGHTS: bool = false;

    /// The proof, on a CPU that has the features besides those of [`Ymm`].
    fn detect() -> Option<Self>;
    /// Runs a kernel compiled with these features and those of [`Ymm`].
    fn run<K: Kernel>(isa: Ymm<Self>, kernel: K) -> K::Output;

    /// [`Isa::dot_accumulate`] on half of the lanes, with the four bytes of `x` in each.
    fn dot_accumulate(self, sum: __m256i, w: __m256i, x: __m256i, bits: u32) -> __m256i;

    /// [`Isa::max_accumulate`].
    fn max_accumulate(_bits: u32) -> usize {
        usize::MAX
    }

    /// [`Isa::optimization_barrier`].
    #[inline(always)]
    fn optimization_barrier(self, sums: [__m256i; 2]) -> [__m256i; 2] {
        sums
    }

    /// [`Isa::dot_widen`] on half of the lanes.
    #[inline(always)]
    fn dot_widen(self, sum: __m256i, _bits: u32) -> __m256i {
        sum
    }
}

impl<M: Multiply> Ymm<M> {
    /// The token, on a CPU that has the features.
    pub fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        if found { M::detect().map(Self) } else { None }
    }
}

// SAFETY, for every block below: `self` exists only where `Ymm::detect` found the features, and
// each pointer comes from an array reference at least as long as the access; loads and stores are
// unaligned ones.
impl<M: Multiply> Isa for Ymm<M> {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];
    type P = [__m256i; 2];

    const MANY_ACCUMULATORS: bool = false;
    const NR: usize = M::NR;
    const SIGNED_WEIGHTS: bool = M::SIGNED_WEIGHTS;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        M::run(self, kernel)
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
        // SAFETY: the features were detected; both unaligned loads of eight bytes lie within the
        // array.
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
    fn load_e4m3(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe {
            let halves = halves_of_e4m3(_mm_loadu_si128(x.as_ptr().cast()));
            let scale = _mm256_set1_ps(HALF_TO_E4M3);
            let low = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
            let high = _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves));
            [_mm256_mul_ps(low, scale), _mm256_mul_ps(high, scale)]
        }
    }

    #[inline(always)]
    fn load_u8(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: the features were detected; both unaligned loads of eight bytes lie within the
        // array.
        unsafe {
            let (low, high) = (x.as_ptr().cast(), x.as_ptr().add(8).cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(low))),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(high))),
            ]
        }
    }

    #[inline(always)]
    fn broadcast_half(self, x: &[f32; LANES / 2]) -> Self::F {
        // SAFETY: the features were detected; the load is the array.
        unsafe { [_mm256_loadu_ps(x.as_ptr()); 2] }
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
    fn fma_all<const N: usize>(self, w: &[f32; LANES], x: &[Self::F; N], acc: &mut [Self::F; N]) {
        for (i, w) in w.as_chunks::<8>().0.iter().enumerate() {
            // SAFETY: the features were detected; the load is the array.
            let w = unsafe { _mm256_loadu_ps(w.as_ptr()) };
            for c in 0..N {
                // SAFETY: the features were detected.
                acc[c][i] = unsafe { _mm256_fmadd_ps(w, x[c][i], acc[c][i]) };
            }
        }
    }

    #[inline(always)]
    fn max_abs(self, most: Self::F, x: Self::F) -> Self::F {
        // SAFETY: the features were detected.
        unsafe {
            let magnitude = _mm256_set1_epi32(i32::MAX);
            let low = _mm256_and_si256(magnitude, _mm256_castps_si256(x[0]));
            let high = _mm256_and_si256(magnitude, _mm256_castps_si256(x[1]));
            [
                _mm256_castsi256_ps(_mm256_max_epi32(low, _mm256_castps_si256(most[0]))),
                _mm256_castsi256_ps(_mm256_max_epi32(high, _mm256_castps_si256(most[1]))),
            ]
        }
    }

    #[inline(always)]
    fn reduce_max(self, x: Self::F) -> f32 {
        // SAFETY: the features were detected.
        unsafe {
            let eight = _mm256_max_epi32(_mm256_castps_si256(x[0]), _mm256_castps_si256(x[1]));
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
            let eight = _mm256_add_ps(x[0], x[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    fn max_accumulate(bits: u32) -> usize {
        M::max_accumulate(bits)
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
    fn store_bytes(self, w: Self::B, out: &mut [u8; 4 * LANES]) {
        // SAFETY: the features were detected; both unaligned stores lie within the array.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), w[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(32).cast(), w[1]);
        }
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
    fn lookup(self, table: &[u8; 16], places: Self::B) -> Self::B {
        // SAFETY: the features were detected; the unaligned load is the array.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [
                _mm256_shuffle_epi8(table, places[0]),
                _mm256_shuffle_epi8(table, places[1]),
            ]
        }
    }

    #[inline(always)]
    fn dot_zero(self) -> Self::P {
        // SAFETY: the features were detected.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn dot_start(self, start: i32, bits: u32) -> (Self::P, Self::I) {
        if M::max_accumulate(bits) == usize::MAX {
            (self.splat_int(start), self.splat_int(0))
        } else {
            (self.dot_zero(), self.splat_int(start))
        }
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: Self::P, w: Self::B, x: [i8; 4], bits: u32) -> Self::P {
        let x = i32::from_ne_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]);
        // SAFETY: the features were detected.
        let x = unsafe { _mm256_set1_epi32(x) };
        [
            self.0.dot_accumulate(sum[0], w[0], x, bits),
            self.0.dot_accumulate(sum[1], w[1], x, bits),
        ]
    }

    #[inline(always)]
    fn optimization_barrier(self, sum: Self::P) -> Self::P {
        self.0.optimization_barrier(sum)
    }

    #[inline(always)]
    fn dot_widen(self, sum: Self::P, bits: u32) -> Self::I {
        [self.0.dot_widen(sum[0], bits), self.0.dot_widen(sum[1], bits)]
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
