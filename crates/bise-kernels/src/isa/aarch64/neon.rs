//! What the AArch64 levels share: 16 lanes in four registers of four, by NEON.

use crate::isa::{Isa, Kernel, LANES};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::fmt::Debug;

/// Proof that the CPU has NEON, and what `M` multiplies bytes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon<M>(M);

/// How a level multiplies bytes into sums of 32 bits: all that tells the levels apart. A value
/// proves that the CPU can.
pub trait Multiply: Copy + Debug + Eq + Send + Sync + 'static {
    /// [`Isa::SIGNED_WEIGHTS`].
    const SIGNED_WEIGHTS: bool;

    /// The proof, on a CPU that has the features besides NEON.
    fn detect() -> Option<Self>;
    /// Runs a kernel compiled with these features and NEON.
    fn run<K: Kernel>(isa: Neon<Self>, kernel: K) -> K::Output;
    /// [`Isa::dot_accumulate`] on a quarter of the lanes, with the four bytes of `x` in each.
    fn dot_accumulate(self, sum: int32x4_t, w: uint8x16_t, x: int8x16_t, bits: u32) -> int32x4_t;
}

impl<M: Multiply> Neon<M> {
    /// The token, on a CPU that has the features.
    pub fn detect() -> Option<Self> {
        if is_aarch64_feature_detected!("neon") {
            M::detect().map(Self)
        } else {
            None
        }
    }
}

// SAFETY, for every block below: `self` exists only where `Neon::detect` found NEON, and each
// pointer comes from an array reference at least as long as the access.
impl<M: Multiply> Isa for Neon<M> {
    type F = [float32x4_t; 4];
    type I = [int32x4_t; 4];
    type B = [uint8x16_t; 4];
    type P = [int32x4_t; 4];

    /// Of 32 registers, sums take 16, weights four, and activations and half-way products what they
    /// need.
    const MANY_ACCUMULATORS: bool = false;
    const NR: usize = 4;
    const SIGNED_WEIGHTS: bool = M::SIGNED_WEIGHTS;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        M::run(self, kernel)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: NEON was detected.
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        let x = x.as_ptr();
        // SAFETY: NEON was detected; the four loads are the array.
        unsafe {
            [
                vld1q_f32(x),
                vld1q_f32(x.add(4)),
                vld1q_f32(x.add(8)),
                vld1q_f32(x.add(12)),
            ]
        }
    }

    #[inline(always)]
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::F {
        let [a, b, c, d] = self.load_bytes(x);
        // SAFETY: NEON was detected.
        unsafe {
            [
                vreinterpretq_f32_u8(a),
                vreinterpretq_f32_u8(b),
                vreinterpretq_f32_u8(c),
                vreinterpretq_f32_u8(d),
            ]
        }
    }

    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F {
        // SAFETY: NEON was detected; both loads lie within the array.
        unsafe {
            let (low, high) = (vld1q_u8(x.as_ptr()), vld1q_u8(x.as_ptr().add(16)));
            [low_f16(low), high_f16(low), low_f16(high), high_f16(high)]
        }
    }

    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F {
        // SAFETY: NEON was detected; both loads lie within the array.
        unsafe {
            let low = vreinterpretq_u16_u8(vld1q_u8(x.as_ptr()));
            let high = vreinterpretq_u16_u8(vld1q_u8(x.as_ptr().add(16)));
            let wide = [
                vmovl_u16(vget_low_u16(low)),
                vmovl_high_u16(low),
                vmovl_u16(vget_low_u16(high)),
                vmovl_high_u16(high),
            ];
            [
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide[0])),
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide[1])),
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide[2])),
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide[3])),
            ]
        }
    }

    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: NEON was detected; the load is the array.
        unsafe {
            let x = vreinterpretq_s8_u8(vld1q_u8(x.as_ptr()));
            let (low, high) = (vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    fn load_e4m3(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: NEON was detected; the load is the array.
        unsafe {
            let x = vreinterpretq_s8_u8(vld1q_u8(x.as_ptr()));
            let low = half_of_e4m3(vmovl_s8(vget_low_s8(x)));
            let high = half_of_e4m3(vmovl_high_s8(x));
            [
                vmulq_n_f32(low_f16(low), HALF_TO_E4M3),
                vmulq_n_f32(high_f16(low), HALF_TO_E4M3),
                vmulq_n_f32(low_f16(high), HALF_TO_E4M3),
                vmulq_n_f32(high_f16(high), HALF_TO_E4M3),
            ]
        }
    }

    #[inline(always)]
    fn load_u8(self, x: &[u8; LANES]) -> Self::F {
        // SAFETY: NEON was detected; the load is the array.
        unsafe {
            let x = vld1q_u8(x.as_ptr());
            let (low, high) = (vmovl_u8(vget_low_u8(x)), vmovl_high_u8(x));
            [
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                vcvtq_f32_u32(vmovl_high_u16(low)),
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                vcvtq_f32_u32(vmovl_high_u16(high)),
            ]
        }
    }

    #[inline(always)]
    fn broadcast_half(self, x: &[f32; LANES / 2]) -> Self::F {
        // SAFETY: NEON was detected; the two loads are the array.
        let (low, high) = unsafe { (vld1q_f32(x.as_ptr()), vld1q_f32(x.as_ptr().add(4))) };
        [low, high, low, high]
    }

    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; LANES]) {
        let out = out.as_mut_ptr();
        // SAFETY: NEON was detected; the four stores are the array.
        unsafe {
            vst1q_f32(out, x[0]);
            vst1q_f32(out.add(4), x[1]);
            vst1q_f32(out.add(8), x[2]);
            vst1q_f32(out.add(12), x[3]);
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: NEON was detected.
        unsafe {
            [
                vaddq_f32(a[0], b[0]),
                vaddq_f32(a[1], b[1]),
                vaddq_f32(a[2], b[2]),
                vaddq_f32(a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: NEON was detected.
        unsafe {
            [
                vmulq_f32(a[0], b[0]),
                vmulq_f32(a[1], b[1]),
                vmulq_f32(a[2], b[2]),
                vmulq_f32(a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: NEON was detected.
        unsafe {
            [
                vfmaq_f32(c[0], a[0], b[0]),
                vfmaq_f32(c[1], a[1], b[1]),
                vfmaq_f32(c[2], a[2], b[2]),
                vfmaq_f32(c[3], a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn fma_all<const N: usize>(self, w: &[f32; LANES], x: &[Self::F; N], acc: &mut [Self::F; N]) {
        for (i, w) in w.as_chunks::<4>().0.iter().enumerate() {
            // SAFETY: NEON was detected; the load is the array.
            let w = unsafe { vld1q_f32(w.as_ptr()) };
            for c in 0..N {
                // SAFETY: NEON was detected.
                acc[c][i] = unsafe { vfmaq_f32(acc[c][i], w, x[c][i]) };
            }
        }
    }

    #[inline(always)]
    fn max_abs(self, mut most: Self::F, x: Self::F) -> Self::F {
        // SAFETY: NEON was detected.
        unsafe {
            for i in 0..4 {
                let x = vreinterpretq_u32_f32(vabsq_f32(x[i]));
                most[i] = vreinterpretq_f32_u32(vmaxq_u32(x, vreinterpretq_u32_f32(most[i])));
            }
        }
        most
    }

    #[inline(always)]
    fn reduce_max(self, x: Self::F) -> f32 {
        // SAFETY: NEON was detected.
        unsafe {
            let low = vmaxq_u32(vreinterpretq_u32_f32(x[0]), vreinterpretq_u32_f32(x[2]));
            let high = vmaxq_u32(vreinterpretq_u32_f32(x[1]), vreinterpretq_u32_f32(x[3]));
            f32::from_bits(vmaxvq_u32(vmaxq_u32(low, high)))
        }
    }

    #[inline(always)]
    fn reduce_sum(self, x: Self::F) -> f32 {
        // SAFETY: NEON was detected.
        unsafe {
            let eight = [vaddq_f32(x[0], x[2]), vaddq_f32(x[1], x[3])];
            let four = vaddq_f32(eight[0], eight[1]);
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    fn max_accumulate(_: u32) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn load_bytes(self, w: &[u8; 4 * LANES]) -> Self::B {
        let w = w.as_ptr();
        // SAFETY: NEON was detected; the four loads are the array.
        unsafe {
            [
                vld1q_u8(w),
                vld1q_u8(w.add(16)),
                vld1q_u8(w.add(32)),
                vld1q_u8(w.add(48)),
            ]
        }
    }

    #[inline(always)]
    fn store_bytes(self, w: Self::B, out: &mut [u8; 4 * LANES]) {
        let out = out.as_mut_ptr();
        // SAFETY: NEON was detected; the four stores are the array.
        unsafe {
            vst1q_u8(out, w[0]);
            vst1q_u8(out.add(16), w[1]);
            vst1q_u8(out.add(32), w[2]);
            vst1q_u8(out.add(48), w[3]);
        }
    }

    #[inline(always)]
    fn shift_mask(self, w: Self::B, shift: i32, mask: u8) -> Self::B {
        // SAFETY: NEON was detected.
        unsafe {
            let (left, mask) = (vdupq_n_s8(-shift as i8), vdupq_n_u8(mask));
            [
                vandq_u8(vshlq_u8(w[0], left), mask),
                vandq_u8(vshlq_u8(w[1], left), mask),
                vandq_u8(vshlq_u8(w[2], left), mask),
                vandq_u8(vshlq_u8(w[3], left), mask),
            ]
        }
    }

    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        // SAFETY: NEON was detected.
        unsafe {
            [
                vorrq_u8(a[0], b[0]),
                vorrq_u8(a[1], b[1]),
                vorrq_u8(a[2], b[2]),
                vorrq_u8(a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], places: Self::B) -> Self::B {
        // SAFETY: NEON was detected; the load is the array.
        unsafe {
            let table = vld1q_u8(table.as_ptr());
            [
                vqtbl1q_u8(table, places[0]),
                vqtbl1q_u8(table, places[1]),
                vqtbl1q_u8(table, places[2]),
                vqtbl1q_u8(table, places[3]),
            ]
        }
    }

    #[inline(always)]
    fn dot_zero(self) -> Self::P {
        self.splat_int(0)
    }

    #[inline(always)]
    fn dot_start(self, start: i32, _: u32) -> (Self::P, Self::I) {
        (self.splat_int(start), self.splat_int(0))
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: Self::P, w: Self::B, x: [i8; 4], bits: u32) -> Self::P {
        let x = i32::from_ne_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8]);
        // SAFETY: NEON was detected.
        let x = unsafe { vreinterpretq_s8_s32(vdupq_n_s32(x)) };
        [
            self.0.dot_accumulate(sum[0], w[0], x, bits),
            self.0.dot_accumulate(sum[1], w[1], x, bits),
            self.0.dot_accumulate(sum[2], w[2], x, bits),
            self.0.dot_accumulate(sum[3], w[3], x, bits),
        ]
    }

    #[inline(always)]
    fn dot_widen(self, sum: Self::P, _: u32) -> Self::I {
        sum
    }

    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        // SAFETY: NEON was detected.
        unsafe { [vdupq_n_s32(x); 4] }
    }

    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: NEON was detected.
        unsafe {
            [
                vaddq_s32(a[0], b[0]),
                vaddq_s32(a[1], b[1]),
                vaddq_s32(a[2], b[2]),
                vaddq_s32(a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn to_f32(self, x: Self::I) -> Self::F {
        // SAFETY: NEON was detected.
        unsafe {
            [
                vcvtq_f32_s32(x[0]),
                vcvtq_f32_s32(x[1]),
                vcvtq_f32_s32(x[2]),
                vcvtq_f32_s32(x[3]),
            ]
        }
    }
}

/// What a float of E4M3 is times the f16 that [`half_of_e4m3`] makes of it: 2^(15 - 7), by which
/// the exponents of both are off.
const HALF_TO_E4M3: f32 = 256.0;

/// Eight floats of E4M3, each in 16 bits with its sign extended, as f16 of the same sign, exponent
/// and fraction; the product with [`HALF_TO_E4M3`] is exact, as both have values below 2^-6 the
/// same way.
///
/// ```text
/// E4M3    s eeee mmm
/// f16     s 0eeee mmm0000000
/// ```
///
/// Of NaN all bits of the magnitude are set: with one more in the last of them, the carry is what
/// the exponent lacks to be NaN's.
#[inline]
#[target_feature(enable = "neon")]
fn half_of_e4m3(x: int16x8_t) -> uint8x16_t {
    const EXPONENT: i16 = 0x4000;
    let doubly_signed = vshlq_n_s16::<7>(x);
    let value = vandq_s16(doubly_signed, vdupq_n_s16(!EXPONENT));
    let carry = vaddq_s16(value, vdupq_n_s16(1 << 7));
    let nan = vandq_s16(carry, vdupq_n_s16(EXPONENT));
    vreinterpretq_u8_s16(vorrq_s16(value, nan))
}

/// The four f16 in the lower half of `x` (in assembly, as the intrinsic needs a type that is not
/// stable).
#[inline]
#[target_feature(enable = "neon")]
fn low_f16(x: uint8x16_t) -> float32x4_t {
    let wide;
    // SAFETY: NEON converts f16; the instruction touches the two registers only.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) x, options(pure, nomem, nostack))
    };
    wide
}

/// The four f16 in the upper half of `x`.
#[inline]
#[target_feature(enable = "neon")]
fn high_f16(x: uint8x16_t) -> float32x4_t {
    let wide;
    // SAFETY: NEON converts f16; the instruction touches the two registers only.
    unsafe {
        asm!("fcvtl2 {0:v}.4s, {1:v}.8h", out(vreg) wide, in(vreg) x, options(pure, nomem, nostack))
    };
    wide
}
