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
//! Sixteen rows fill the lanes, and as many tokens as the registers hold sums of go with them. For few tokens, each vector
//! of weights is unpacked on its way from memory; for more, `section` unpacks some columns once for all. The
//! stored integers are unsigned; what their product lacks, `-ZERO * sum(x)`, is exact and comes from the tile.

use super::interleaved::{Block, CELL, Factors};
use super::tiles::Tile;
use crate::block::IntFormat;
use crate::isa::{Isa, Kernel, LANES};
use crate::threads::Strip;
use std::marker::PhantomData;

/// Sixteen rows of weights, one a lane, in groups and in *cells* of 32 columns: what the chains take from them.
pub(super) trait Panel<S: Isa> {
    /// Columns that share a scale: 16 or 32.
    const GROUP: usize;
    /// Integers lie in `0..2^WIDTH`.
    const WIDTH: u32;
    /// Whether groups have a minimum.
    const HAS_MIN: bool;

    /// The scales of group `g`.
    fn scale(&self, isa: S, g: usize) -> S::F;
    /// The negative minima of group `g`.
    fn minus_min(&self, isa: S, g: usize) -> S::F;
    /// The unsigned integers of columns `32 cell + 4 v .. 32 cell + 4 v + 4` of each row.
    fn vector(&self, isa: S, cell: usize, v: usize) -> S::B;
}

/// How far ahead weights are asked for: far enough for memory, near enough to stay in the first cache.
const AHEAD: usize = 4096;

/// How many rows of activations are few: for them it is faster to unpack the weights once for each tile, on their way from
/// memory, than once for all.
pub(super) struct Few<F>(pub PhantomData<F>);

impl<F: IntFormat> Kernel for Few<F> {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> usize {
        // The more groups, and the more factors of each, the longer unpacking takes. Whole bytes are hardly packed.
        let tiles = match (S::STRIPS, F::GROUP, F::HAS_MIN) {
            _ if F::WIDTH == 8 => 8,
            (1, 16, true) => 1,
            (1, 16, false) => 2,
            (2, 32, _) => 6,
            _ => 4,
        };
        tiles * S::COLUMNS
    }
}

/// What the chains of `N` rows of activations take from a tile.
pub(super) struct Inputs<'a, const N: usize> {
    q: &'a [[[i8; 4]; N]],
    d: &'a [[f32; N]],
    bias: &'a [[i32; N]],
    sums: &'a [[f32; N]],
}

impl<'a, const N: usize> Inputs<'a, N> {
    /// The parts of a tile of width `N`.
    #[inline(always)]
    pub fn new(t: &'a Tile) -> Self {
        Self {
            q: t.q.as_chunks().0,
            d: t.d.as_chunks().0,
            bias: t.bias.as_chunks().0,
            sums: t.sums.as_chunks().0,
        }
    }
}

/// The chains of 16 rows of weights and the `N` rows of activations of a tile.
#[inline(always)]
pub(super) fn tile<S: Isa, F: IntFormat, const N: usize>(
    isa: S,
    weights: &[u8],
    t: &Tile,
    out: &mut Strip<'_>,
) {
    let x = Inputs::new(t);
    let mut factors = Factors::ZERO;
    let mut acc = [[isa.splat(0.0); N]];
    for (b, bytes) in weights.chunks_exact(Block::<S, F>::BYTES).enumerate() {
        let block = Block::<S, F>::new(isa, bytes, &mut factors);
        let cells = F::LEN / CELL;
        for cell in 0..cells {
            // Little by little: a burst would fill the queue of misses and stall.
            for line in (0..Block::<S, F>::BYTES / cells).step_by(64) {
                isa.prefetch(block.part(cell).wrapping_add(AHEAD + line));
            }
            links(isa, [&block], cell, &x, b * cells + cell, &mut acc);
        }
    }
    for c in 0..N {
        put(isa, acc[0][c], out.row(t.first + c));
    }
}

/// Writes the lanes of `y` that `out` has room for.
#[inline(always)]
pub(super) fn put<S: Isa>(isa: S, y: S::F, out: &mut [f32]) {
    if let Some(out) = out.first_chunk_mut() {
        return isa.store(y, out);
    }
    let mut all = [0f32; LANES];
    isa.store(y, &mut all);
    out.copy_from_slice(&all[..out.len()]);
}

/// The chains' links of the panels' `cell`, which meets the inputs of the row's cell `at`.
#[inline(always)]
pub(super) fn links<S: Isa, P: Panel<S>, const R: usize, const N: usize>(
    isa: S,
    panels: [&P; R],
    cell: usize,
    x: &Inputs<'_, N>,
    at: usize,
    acc: &mut [[S::F; N]; R],
) {
    group(isa, panels, cell, 0, x, at, acc);
    if P::GROUP < CELL {
        group(isa, panels, cell, 1, x, at, acc);
    }
}

/// The links of the cell's group `part`.
#[inline(always)]
fn group<S: Isa, P: Panel<S>, const R: usize, const N: usize>(
    isa: S,
    panels: [&P; R],
    cell: usize,
    part: usize,
    x: &Inputs<'_, N>,
    at: usize,
    acc: &mut [[S::F; N]; R],
) {
    let g = at * (CELL / P::GROUP) + part;
    let q = &x.q[g * (P::GROUP / 4)..][..P::GROUP / 4];
    let mut sums = Sums {
        isum: [[isa.splat_int(0); N]; R],
        sum: [[isa.begin(); N]; R],
    };
    if !(P::HAS_MIN || P::WIDTH == 8 && S::CENTERS_BYTES) {
        let bias = &x.bias[g];
        for c in 0..N {
            for r in 0..R {
                (sums.sum[r][c], sums.isum[r][c]) = isa.begin_at(bias[c], P::WIDTH);
            }
        }
    }
    // Written out, for where a vector lies in a byte has to be known when this is compiled.
    sums.add(isa, panels, cell, part, 0, q);
    sums.add(isa, panels, cell, part, 1, q);
    sums.add(isa, panels, cell, part, 2, q);
    sums.add(isa, panels, cell, part, 3, q);
    if P::GROUP == 32 {
        sums.add(isa, panels, cell, part, 4, q);
        sums.add(isa, panels, cell, part, 5, q);
        sums.add(isa, panels, cell, part, 6, q);
        sums.add(isa, panels, cell, part, 7, q);
    }
    let here = cell * (CELL / P::GROUP) + part;
    for r in 0..R {
        let scale = panels[r].scale(isa, here);
        for c in 0..N {
            let d = isa.splat(x.d[at][c]);
            acc[r][c] = isa.fma(isa.to_f32(sums.isum[r][c]), isa.mul(scale, d), acc[r][c]);
        }
        if P::HAS_MIN {
            let minus_min = panels[r].minus_min(isa, here);
            for c in 0..N {
                acc[r][c] = isa.fma(minus_min, isa.splat(x.sums[g][c]), acc[r][c]);
            }
        }
    }
}

/// The integer sums of a group.
struct Sums<S: Isa, const R: usize, const N: usize> {
    isum: [[S::I; N]; R],
    /// What is not yet in `isum`.
    sum: [[S::P; N]; R],
}

impl<S: Isa, const R: usize, const N: usize> Sums<S, R, N> {
    /// Adds the products of the group's vector `v` with its inputs `q[v]`.
    #[inline(always)]
    fn add<P: Panel<S>>(
        &mut self,
        isa: S,
        panels: [&P; R],
        cell: usize,
        part: usize,
        v: usize,
        q: &[[[i8; 4]; N]],
    ) {
        let vectors = P::GROUP / 4;
        let mut w = [panels[0].vector(isa, cell, part * vectors + v); R];
        for r in 1..R {
            w[r] = panels[r].vector(isa, cell, part * vectors + v);
        }
        for c in 0..N {
            for r in 0..R {
                self.sum[r][c] = isa.settle(isa.dot(self.sum[r][c], w[r], q[v][c], P::WIDTH));
            }
        }
        if (v + 1).is_multiple_of(vectors.min(S::capacity(P::WIDTH))) {
            for c in 0..N {
                for r in 0..R {
                    self.isum[r][c] = isa.add_int(self.isum[r][c], isa.end(self.sum[r][c], P::WIDTH));
                    self.sum[r][c] = isa.begin();
                }
            }
        }
    }
}
