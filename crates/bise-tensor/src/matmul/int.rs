//! Quantized weights times 8-bit activations: the chain that every kernel of an [`IntFormat`] computes.
//!
//! For the groups `g` of a row in ascending order, with the weights' `scale` and `min` and the activations'
//! `d` and integers `x`:
//!
//! ```text
//! isum = sum of q[i] * x[i] over the group                  exact, in i32
//! acc  = fma(isum, scale[g] * d, acc)
//! acc  = fma(-min[g], d * sum(x), acc)                      formats with minima
//! ```
//!
//! Sixteen rows fill the lanes, and as many tokens as the registers hold sums of go with them: each vector of weights
//! is unpacked once for all of them. The stored integers are unsigned; what their product lacks, `-ZERO * sum(x)`, is
//! exact and comes from the tile.

use super::interleaved::{Block, CELL, Factors};
use super::tiles::Tile;
use crate::block::IntFormat;
use crate::isa::{Isa, LANES};
use crate::threads::Strip;

/// How far ahead weights are asked for: far enough for memory, near enough to stay in the first cache.
const AHEAD: usize = 4096;

/// What the chains of `N` rows of activations take from a tile.
struct Inputs<'a, const N: usize> {
    q: &'a [[[i8; 4]; N]],
    d: &'a [[f32; N]],
    bias: &'a [[i32; N]],
    sums: &'a [[f32; N]],
}

/// The chains of 16 rows of weights and the `N` rows of activations of a tile.
#[inline(always)]
pub(super) fn tile<S: Isa, F: IntFormat, const N: usize>(
    isa: S,
    weights: &[u8],
    t: &Tile,
    out: &mut Strip<'_>,
) {
    let x = Inputs {
        q: t.q.as_chunks().0,
        d: t.d.as_chunks().0,
        bias: t.bias.as_chunks().0,
        sums: t.sums.as_chunks().0,
    };
    let mut factors = Factors::ZERO;
    let mut acc = [isa.splat(0.0); N];
    for (b, bytes) in weights.chunks_exact(Block::<S, F>::BYTES).enumerate() {
        let block = Block::<S, F>::new(isa, bytes, &mut factors);
        let cells = F::LEN / CELL;
        for cell in 0..cells {
            // Little by little: a burst would fill the queue of misses and stall.
            for line in (0..Block::<S, F>::BYTES / cells).step_by(64) {
                isa.prefetch(block.part(cell).wrapping_add(AHEAD + line));
            }
            group::<S, F, N>(isa, &block, cell, 0, &x, b * cells + cell, &mut acc);
            if F::GROUP < CELL {
                group::<S, F, N>(isa, &block, cell, 1, &x, b * cells + cell, &mut acc);
            }
        }
    }
    for c in 0..N {
        let mut y = [0f32; LANES];
        isa.store(acc[c], &mut y);
        let width = out.width();
        out.row(t.first + c).copy_from_slice(&y[..width]);
    }
}

/// One link of the chains: group `part` of a block's `cell`, which meets the inputs of the row's cell `at`.
#[inline(always)]
fn group<S: Isa, F: IntFormat, const N: usize>(
    isa: S,
    block: &Block<'_, S, F>,
    cell: usize,
    part: usize,
    x: &Inputs<'_, N>,
    at: usize,
    acc: &mut [S::F; N],
) {
    let g = at * (CELL / F::GROUP) + part;
    let q = &x.q[g * (F::GROUP / 4)..][..F::GROUP / 4];
    let bias = &x.bias[g];
    let mut sums = Sums {
        isum: [isa.splat_int(0); N],
        sum: [isa.begin(); N],
    };
    if !(F::BITS == 8 && S::CENTERS_BYTES) {
        for c in 0..N {
            sums.isum[c] = isa.splat_int(bias[c]);
        }
    }
    // Written out, for where a vector lies in a byte has to be known when this is compiled.
    sums.add(isa, block, cell, part, 0, q);
    sums.add(isa, block, cell, part, 1, q);
    sums.add(isa, block, cell, part, 2, q);
    sums.add(isa, block, cell, part, 3, q);
    if F::GROUP == 32 {
        sums.add(isa, block, cell, part, 4, q);
        sums.add(isa, block, cell, part, 5, q);
        sums.add(isa, block, cell, part, 6, q);
        sums.add(isa, block, cell, part, 7, q);
    }
    let in_block = cell * (CELL / F::GROUP) + part;
    let scale = block.scale(isa, in_block);
    for c in 0..N {
        let d = isa.splat(x.d[at][c]);
        acc[c] = isa.fma(isa.to_f32(sums.isum[c]), isa.mul(scale, d), acc[c]);
    }
    if F::HAS_MIN {
        let minus_min = block.minus_min(isa, in_block);
        for c in 0..N {
            acc[c] = isa.fma(minus_min, isa.splat(x.sums[g][c]), acc[c]);
        }
    }
}

/// The integer sums of a group.
struct Sums<S: Isa, const N: usize> {
    isum: [S::I; N],
    /// What is not yet in `isum`.
    sum: [S::P; N],
}

impl<S: Isa, const N: usize> Sums<S, N> {
    /// Adds the products of the group's vector `v` with its inputs `q[v]`.
    #[inline(always)]
    fn add<F: IntFormat>(
        &mut self,
        isa: S,
        block: &Block<'_, S, F>,
        cell: usize,
        part: usize,
        v: usize,
        q: &[[[i8; 4]; N]],
    ) {
        let vectors = F::GROUP / 4;
        let w = block.vector(isa, cell, part * vectors + v);
        for c in 0..N {
            self.sum[c] = isa.settle(isa.dot(self.sum[c], w, q[v][c], F::BITS));
        }
        if (v + 1).is_multiple_of(vectors.min(S::capacity(F::BITS))) {
            for c in 0..N {
                self.isum[c] = isa.add_int(self.isum[c], isa.end(self.sum[c], F::BITS));
                self.sum[c] = isa.begin();
            }
        }
    }
}
