//! Quantized weights times 8-bit activations: the contract, and the accumulation that keeps it.
//!
//! For the sub-blocks `g` of a row in ascending order, with the weights' `scale` and `min` and the
//! activations' `d` and integers `x`:
//!
//! ```text
//! isum = sum of q[i] * x[i] over the sub-block              exact, in i32
//! acc  = fma(isum, scale[g] * d, acc)
//! acc  = fma(-min[g], d * sum(x), acc)                      formats with minima
//! ```
//!
//! Sixteen rows of weights fill the lanes, and as many rows of activations go with them as the
//! registers hold accumulators of. The stored integers are unsigned; what their product lacks,
//! `-ZERO * sum(x)`, is exact and comes with the packed activations.

use super::packed::PackedTile;
use crate::isa::{Isa, LANES};

/// Columns that a kernel multiplies in one step: those of one scale of the activations.
pub(super) const K_STEP: usize = 32;
/// Bytes of a vector: four columns of each row.
pub(super) const VECTOR: usize = 4 * LANES;

/// Sixteen rows of weights, one a lane, as kernels read them: sub-block by sub-block, and four
/// columns at a time.
pub(super) trait PackedWeights<S: Isa> {
    /// Columns that share a scale: 16 or 32.
    const SUB_BLOCK: usize;
    /// Integers lie in `0..2^BITS`.
    const BITS: u32;
    /// Whether sub-blocks have a minimum.
    const HAS_MIN: bool;

    /// The scales of sub-block `g`.
    fn scale(&self, isa: S, g: usize) -> S::F;
    /// The negative minima of sub-block `g`.
    fn minus_min(&self, isa: S, g: usize) -> S::F;
    /// The unsigned integers of columns `32 step + 4 v .. 32 step + 4 v + 4` of each row.
    fn vector(&self, isa: S, step: usize, v: usize) -> S::B;
}

/// A tile of `N` rows of packed activations.
pub(super) struct Inputs<'a, const N: usize> {
    q: &'a [[[i8; 4]; N]],
    d: &'a [[f32; N]],
    bias: &'a [[i32; N]],
    sums: &'a [[f32; N]],
}

impl<'a, const N: usize> Inputs<'a, N> {
    /// The parts of a tile of width `N`.
    #[inline(always)]
    pub fn new(t: &'a PackedTile) -> Self {
        Self {
            q: t.q.as_chunks().0,
            d: t.d.as_chunks().0,
            bias: t.bias.as_chunks().0,
            sums: t.sums.as_chunks().0,
        }
    }
}

/// Adds step `step` of `R` times 16 rows of weights, which is step `at` of the whole rows, to the
/// accumulators.
#[inline(always)]
pub(super) fn accumulate<S: Isa, W: PackedWeights<S>, const R: usize, const N: usize>(
    isa: S,
    weights: [&W; R],
    step: usize,
    x: &Inputs<'_, N>,
    at: usize,
    acc: &mut [[S::F; N]; R],
) {
    accumulate_sub_block(isa, weights, step, 0, x, at, acc);
    if W::SUB_BLOCK < K_STEP {
        accumulate_sub_block(isa, weights, step, 1, x, at, acc);
    }
}

/// Adds sub-block `part` of a step to the accumulators.
#[inline(always)]
fn accumulate_sub_block<S: Isa, W: PackedWeights<S>, const R: usize, const N: usize>(
    isa: S,
    weights: [&W; R],
    step: usize,
    part: usize,
    x: &Inputs<'_, N>,
    at: usize,
    acc: &mut [[S::F; N]; R],
) {
    let g = at * (K_STEP / W::SUB_BLOCK) + part;
    let q = &x.q[g * (W::SUB_BLOCK / 4)..][..W::SUB_BLOCK / 4];
    let mut sums = DotSums {
        isum: [[isa.splat_int(0); N]; R],
        dot: [[isa.dot_zero(); N]; R],
    };
    if !(W::HAS_MIN || W::BITS == 8 && S::SIGNED_WEIGHTS) {
        let bias = &x.bias[g];
        for c in 0..N {
            for r in 0..R {
                (sums.dot[r][c], sums.isum[r][c]) = isa.dot_start(bias[c], W::BITS);
            }
        }
    }
    // Written out: where a vector lies in a byte has to be known when this is compiled.
    sums.add(isa, weights, step, part, 0, q);
    sums.add(isa, weights, step, part, 1, q);
    sums.add(isa, weights, step, part, 2, q);
    sums.add(isa, weights, step, part, 3, q);
    if W::SUB_BLOCK == 32 {
        sums.add(isa, weights, step, part, 4, q);
        sums.add(isa, weights, step, part, 5, q);
        sums.add(isa, weights, step, part, 6, q);
        sums.add(isa, weights, step, part, 7, q);
    }
    let here = step * (K_STEP / W::SUB_BLOCK) + part;
    for r in 0..R {
        let scale = weights[r].scale(isa, here);
        for c in 0..N {
            let d = isa.splat(x.d[at][c]);
            acc[r][c] = isa.fma(isa.to_f32(sums.isum[r][c]), isa.mul(scale, d), acc[r][c]);
        }
        if W::HAS_MIN {
            let minus_min = weights[r].minus_min(isa, here);
            for c in 0..N {
                acc[r][c] = isa.fma(minus_min, isa.splat(x.sums[g][c]), acc[r][c]);
            }
        }
    }
}

/// The integer dot products of a sub-block.
struct DotSums<S: Isa, const R: usize, const N: usize> {
    isum: [[S::I; N]; R],
    /// What is not yet in `isum`.
    dot: [[S::P; N]; R],
}

impl<S: Isa, const R: usize, const N: usize> DotSums<S, R, N> {
    /// Adds the products of the sub-block's vector `v` of weights with its inputs `q[v]`.
    #[inline(always)]
    fn add<W: PackedWeights<S>>(
        &mut self,
        isa: S,
        weights: [&W; R],
        step: usize,
        part: usize,
        v: usize,
        q: &[[[i8; 4]; N]],
    ) {
        let vectors = W::SUB_BLOCK / 4;
        let mut w = [weights[0].vector(isa, step, part * vectors + v); R];
        for r in 1..R {
            w[r] = weights[r].vector(isa, step, part * vectors + v);
        }
        for c in 0..N {
            for r in 0..R {
                let dot = isa.dot_accumulate(self.dot[r][c], w[r], q[v][c], W::BITS);
                self.dot[r][c] = isa.optimization_barrier(dot);
            }
        }
        if (v + 1).is_multiple_of(vectors.min(S::max_accumulate(W::BITS))) {
            for c in 0..N {
                for r in 0..R {
                    let wide = isa.dot_widen(self.dot[r][c], W::BITS);
                    self.isum[r][c] = isa.add_int(self.isum[r][c], wide);
                    self.dot[r][c] = isa.dot_zero();
                }
            }
        }
    }
}

/// Writes the lanes of `y` that `out` has room for.
#[inline(always)]
pub(super) fn store_partial<S: Isa>(isa: S, y: S::F, out: &mut [f32]) {
    if let Some(out) = out.first_chunk_mut() {
        return isa.store(y, out);
    }
    let mut all = [0f32; LANES];
    isa.store(y, &mut all);
    out.copy_from_slice(&all[..out.len()]);
}
