//! Adapters merged into weights, as PEFT's `merge_and_unload` does:
//!
//! ```text
//! W' = W + scale * B A          each value: fma(sum over r of B[row, r] A[r, column], scale, W)
//! ```
//!
//! The sum is a chain of `fma` in ascending order of `r`.

use bise_format::adapter::LowRank;
use bise_kernels::isa::Level;
use bise_kernels::ops::add_scaled;
use std::ops::Range;

/// An update of some rows of a tensor.
pub(crate) struct Merge {
    /// The first row of the tensor that it is for.
    first: u64,
    update: LowRank,
}

impl Merge {
    /// `update`, of the tensor's rows from `first` on.
    pub(crate) fn new(first: u64, update: LowRank) -> Self {
        Self { first, update }
    }

    /// Adds to `out`, the rows `rows` of the tensor, what the update has for them.
    pub(crate) fn add(&self, rows: &Range<u64>, out: &mut [f32]) {
        let LowRank { a, b, scale, .. } = &self.update;
        let own = self.first..self.first + b.rows() as u64;
        let (start, end) = (rows.start.max(own.start), rows.end.min(own.end));
        if start >= end {
            return;
        }
        let (level, rank, columns) = (Level::detect(), a.rows(), a.cols());
        let out = &mut out[(start - rows.start) as usize * columns..];
        let out = &mut out[..(end - start) as usize * columns];
        let mut factors = vec![0.0; out.len() / columns * rank];
        for (row, factors) in (start - own.start..).zip(factors.chunks_exact_mut(rank)) {
            b.read_row(row as usize, factors);
        }
        // Each row of A is read once for all rows of the tensor.
        let (mut sums, mut narrow) = (vec![0.0; out.len()], vec![0.0; columns]);
        for r in 0..rank {
            a.read_row(r, &mut narrow);
            for (sums, factors) in sums.chunks_exact_mut(columns).zip(factors.chunks_exact(rank)) {
                add_scaled(level, factors[r], &narrow, sums);
            }
        }
        add_scaled(level, *scale, &sums, out);
    }
}
