//! A linear map without bias, and what adapters add to it (LoRA, arXiv 2106.09685):
//!
//! ```text
//! y = W x + sum over adapters of scale * B (A x)
//! ```
//!
//! `A x` and `B (A x)` are products of unquantized matrices as any others; then each output is
//! `y = fma(B (A x), scale, y)`, adapter by adapter in the order given.

use super::buffer::first;
use bise_kernels::isa::Level;
use bise_kernels::matmul::{Activations, Weights, matmul};
use bise_kernels::ops::add_scaled;
use bise_kernels::threads::for_each_piece;

/// `y = x w^T`, with `w` `[outputs, inputs]`, and updates of `w`.
pub(crate) struct Linear {
    pub weights: Weights,
    pub updates: Vec<Update>,
}

/// What an adapter adds: `y + scale * (x a^T) b^T`.
pub(crate) struct Update {
    /// `[rank, inputs]`
    pub a: Weights,
    /// `[outputs, rank]`
    pub b: Weights,
    pub scale: f32,
}

/// What updates are computed in.
pub(crate) struct Workspace {
    /// `[n, rank]`: `x a^T`
    narrow: Vec<f32>,
    /// Some rows of `narrow`, ready for the second product.
    pub(super) inner: Activations,
    /// `[rows, outputs]`: what is added to these rows.
    pub(super) added: Vec<f32>,
}

/// Values that are added at a time, if rows are no longer than that: they stay in a core's cache.
const ADDED: usize = 1 << 18;

/// Rows that are added to at a time.
pub(super) fn step(outputs: usize) -> usize {
    (ADDED / outputs.max(1)).max(1)
}

impl Workspace {
    /// For `rows` rows of up to `outputs` values, and updates of up to `rank`, 0 if there are none.
    pub fn new(level: Level, rows: usize, outputs: usize, rank: usize) -> Self {
        let some = if rank == 0 { 0 } else { rows.min(step(outputs)) };
        Self {
            narrow: vec![0.0; rows * rank],
            inner: Activations::with_capacity(level, some, rank),
            added: vec![0.0; some * outputs],
        }
    }

    /// Bytes that it takes.
    pub fn bytes(rows: usize, outputs: usize, rank: usize) -> u64 {
        let some = if rank == 0 {
            0
        } else {
            rows.min(step(outputs)) as u64
        };
        4 * (rows * rank) as u64 + some * (Activations::row_bytes(rank, true) + 4 * outputs as u64)
    }
}

impl Linear {
    /// `x` is `[n, inputs]`, `out` becomes `[n, outputs]`.
    pub fn forward(&self, x: &mut Activations, ws: &mut Workspace, out: &mut [f32]) {
        matmul(&self.weights, x, out);
        for update in &self.updates {
            update.add(x, ws, out);
        }
    }

    /// Values of a row of the output.
    pub fn outputs(&self) -> usize {
        self.weights.rows()
    }

    /// Values of a row of the input.
    pub fn inputs(&self) -> usize {
        self.weights.cols()
    }
}

impl Update {
    /// Adds to `out`, `[n, outputs]`, what the update makes of `x`, `[n, inputs]`.
    fn add(&self, x: &mut Activations, ws: &mut Workspace, out: &mut [f32]) {
        let (rank, outputs) = (self.a.rows(), self.b.rows());
        let narrow = first(&mut ws.narrow, x.len() * rank);
        matmul(&self.a, x, narrow);
        let step = step(outputs);
        for (narrow, out) in narrow.chunks(step * rank).zip(out.chunks_mut(step * outputs)) {
            ws.inner.set(narrow, rank);
            add_product(&self.b, self.scale, &mut ws.inner, &mut ws.added, out);
        }
    }
}

/// `out = fma(inner b^T, scale, out)`, with `inner` `[n, rank]` and `out` `[n, outputs]`.
pub(super) fn add_product(
    b: &Weights,
    scale: f32,
    inner: &mut Activations,
    added: &mut Vec<f32>,
    out: &mut [f32],
) {
    let (level, outputs) = (inner.level(), b.rows());
    let added = first(added, out.len());
    matmul(b, inner, added);
    let added = &*added;
    for_each_piece(out, outputs, |row, out| {
        add_scaled(level, scale, &added[row * outputs..][..outputs], out);
    });
}
