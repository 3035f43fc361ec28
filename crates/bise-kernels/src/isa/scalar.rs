//! The scalar level: plain Rust on arrays of 16, the specification of every other level.

use super::{Isa, Kernel, LANES};
use crate::e4m3;
use half::{bf16, f16};
use std::array::from_fn;

/// No features beyond the target's baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar;

impl Isa for Scalar {
    type F = [f32; LANES];
    type I = [i32; LANES];
    type B = [u8; 4 * LANES];
    type P = [i32; LANES];

    const MANY_ACCUMULATORS: bool = false;
    const NR: usize = 2;
    const SIGNED_WEIGHTS: bool = false;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.call(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        *x
    }

    #[inline(always)]
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::F {
        from_fn(|l| f32::from_le_bytes([x[4 * l], x[4 * l + 1], x[4 * l + 2], x[4 * l + 3]]))
    }

    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F {
        from_fn(|l| f16::from_le_bytes([x[2 * l], x[2 * l + 1]]).to_f32())
    }

    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> Self::F {
        from_fn(|l| f32::from(x[l] as i8))
    }

    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F {
        from_fn(|l| bf16::from_le_bytes([x[2 * l], x[2 * l + 1]]).to_f32())
    }

    #[inline(always)]
    fn load_e4m3(self, x: &[u8; LANES]) -> Self::F {
        x.map(e4m3::to_f32)
    }

    #[inline(always)]
    fn load_u8(self, x: &[u8; LANES]) -> Self::F {
        x.map(f32::from)
    }

    #[inline(always)]
    fn broadcast_half(self, x: &[f32; LANES / 2]) -> Self::F {
        from_fn(|l| x[l % (LANES / 2)])
    }

    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; LANES]) {
        *out = x;
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|l| a[l] + b[l])
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|l| a[l] * b[l])
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        from_fn(|l| a[l].mul_add(b[l], c[l]))
    }

    #[inline(always)]
    fn max_abs(self, most: Self::F, x: Self::F) -> Self::F {
        from_fn(|l| f32::from_bits(x[l].abs().to_bits().max(most[l].to_bits())))
    }

    #[inline(always)]
    fn reduce_max(self, x: Self::F) -> f32 {
        f32::from_bits(x.into_iter().fold(0, |most, x| most.max(x.to_bits())))
    }

    #[inline(always)]
    fn reduce_sum(self, mut x: Self::F) -> f32 {
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                x[l] += x[l + half];
            }
        }
        x[0]
    }

    fn max_accumulate(_: u32) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn load_bytes(self, w: &[u8; 4 * LANES]) -> Self::B {
        *w
    }

    #[inline(always)]
    fn store_bytes(self, w: Self::B, out: &mut [u8; 4 * LANES]) {
        *out = w;
    }

    #[inline(always)]
    fn shift_mask(self, w: Self::B, shift: i32, mask: u8) -> Self::B {
        w.map(|byte| if shift < 0 { byte << -shift } else { byte >> shift } & mask)
    }

    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], places: Self::B) -> Self::B {
        places.map(|place| table[usize::from(place & 15)])
    }

    #[inline(always)]
    fn dot_zero(self) -> Self::P {
        [0; LANES]
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: Self::P, w: Self::B, x: [i8; 4], _: u32) -> Self::P {
        from_fn(|l| {
            let products = (0..4).map(|j| i32::from(w[4 * l + j]) * i32::from(x[j]));
            sum[l] + products.sum::<i32>()
        })
    }

    #[inline(always)]
    fn dot_widen(self, sum: Self::P, _: u32) -> Self::I {
        sum
    }

    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        [x; LANES]
    }

    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(|l| a[l] + b[l])
    }

    #[inline(always)]
    fn to_f32(self, x: Self::I) -> Self::F {
        x.map(|v| v as f32)
    }
}
