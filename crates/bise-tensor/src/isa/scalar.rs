//! The scalar level: plain Rust on arrays of 16, the specification of every other level.

use super::{Isa, Kernel, LANES};
use half::{bf16, f16};
use std::array::from_fn;

/// No features beyond the target's baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar;

impl Isa for Scalar {
    type F = [f32; LANES];
    type I = [i32; LANES];
    type B = [i8; 4 * LANES];

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
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F {
        from_fn(|l| bf16::from_le_bytes([x[2 * l], x[2 * l + 1]]).to_f32())
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
    fn sum(self, mut x: Self::F) -> f32 {
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                x[l] += x[l + half];
            }
        }
        x[0]
    }

    #[inline(always)]
    fn zero(self) -> Self::I {
        [0; LANES]
    }

    #[inline(always)]
    fn to_f32(self, x: Self::I) -> Self::F {
        x.map(|v| v as f32)
    }

    #[inline(always)]
    fn load_bytes(self, x: &[i8; 4 * LANES]) -> Self::B {
        *x
    }

    #[inline(always)]
    fn dot4(self, acc: Self::I, w: Self::B, x: [i8; 4]) -> Self::I {
        from_fn(|l| {
            acc[l]
                + (0..4)
                    .map(|j| i32::from(w[4 * l + j]) * i32::from(x[j]))
                    .sum::<i32>()
        })
    }
}
