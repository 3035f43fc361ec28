//! Rows of activations in 8 bits.

use crate::isa::{Isa, Kernel, LANES};

/// Values of a row that share a scale.
pub const GROUP: usize = 32;

/// One quantized row of [`Activations`](super::Activations).
#[derive(Clone, Copy)]
pub(super) struct QuantizedRow<'a> {
    /// Integers, a whole number of groups.
    pub q: &'a [i8],
    /// Scale of each group.
    pub d: &'a [f32],
    pub sum32: &'a [f32],
    pub sum16: &'a [f32],
}

impl<'a> QuantizedRow<'a> {
    /// `d * sum(q)` of each `group` (16 or 32) values.
    #[inline(always)]
    pub fn sums(&self, group: usize) -> &'a [f32] {
        if group == GROUP { self.sum32 } else { self.sum16 }
    }
}

/// Quantizes one row.
pub(super) struct Quantize<'a> {
    pub x: &'a [f32],
    pub q: &'a mut [i8],
    pub d: &'a mut [f32],
    pub sum32: &'a mut [f32],
    pub sum16: &'a mut [f32],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        for (g, x) in self.x.chunks(GROUP).enumerate() {
            let mut group = [0f32; GROUP];
            group[..x.len()].copy_from_slice(x);
            let q = self.q[g * GROUP..].first_chunk_mut().expect("a group");
            let (d, sums) = quantize_group(isa, &group, q);
            self.d[g] = d;
            self.sum32[g] = d * (sums[0] + sums[1]);
            self.sum16[2 * g] = d * sums[0];
            self.sum16[2 * g + 1] = d * sums[1];
        }
    }
}

/// Writes the integers of a group; gives its scale and the sums of both halves' integers, which are
/// exact.
#[inline(always)]
fn quantize_group<S: Isa>(isa: S, x: &[f32; GROUP], q: &mut [i8; GROUP]) -> (f32, [f32; 2]) {
    // From 2^23 on floats are the integers: the sum is rounded to one, ties to even, and its last
    // bits are that integer's.
    const INTEGERS: f32 = 12_582_912.0;
    let halves = x.as_chunks::<LANES>().0;
    let most = isa.max_abs(
        isa.max_abs(isa.splat(0.0), isa.load(&halves[0])),
        isa.load(&halves[1]),
    );
    let amax = isa.reduce_max(most);
    if !amax.is_finite() {
        q.fill(0);
        return (f32::NAN, [0.0; 2]);
    }
    let inverse = 127.0 / amax;
    let inverse = isa.splat(if inverse < f32::INFINITY { inverse } else { 0.0 });
    let mut sums = [0.0; 2];
    for (half, q) in q.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let shifted = isa.mul(isa.load(&halves[half]), inverse);
        let shifted = isa.add(shifted, isa.splat(INTEGERS));
        sums[half] = isa.reduce_sum(isa.add(shifted, isa.splat(-INTEGERS)));
        let mut bits = [0f32; LANES];
        isa.store(shifted, &mut bits);
        *q = bits.map(|x| x.to_bits() as i8);
    }
    (amax / 127.0, sums)
}

const _: () = assert!(GROUP == 2 * LANES);
