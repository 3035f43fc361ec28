//! The embeddings, and what adapters add to their rows:
//!
//! ```text
//! x = W[token] + sum over adapters of scale * B[token] A
//! ```

use super::linear::{Workspace, add_product, step};
use bise_kernels::matmul::Weights;
use bise_kernels::tensor::Tensor;

/// The embeddings, looked up by row.
pub(crate) struct Embedding {
    /// `[vocabulary, dim]`
    pub table: Tensor,
    pub updates: Vec<EmbeddingUpdate>,
}

/// What an adapter adds: `x + scale * b[token] a`.
pub(crate) struct EmbeddingUpdate {
    /// `[vocabulary, rank]`, looked up by row.
    pub rows: Tensor,
    /// The transpose of `a`, `[dim, rank]`.
    pub up: Weights,
    pub scale: f32,
}

impl EmbeddingUpdate {
    /// Adds to `x`, the embeddings of `tokens`, `[n, dim]`.
    pub fn add(&self, tokens: &[u32], ws: &mut Workspace, x: &mut [f32]) {
        let (rows, dim, rank) = (self.rows.matrix(), self.up.rows(), self.up.cols());
        let step = step(dim);
        for (tokens, x) in tokens.chunks(step).zip(x.chunks_mut(step * dim)) {
            ws.inner.fill(tokens.len(), rank, |row, out| {
                rows.dequantize_row(tokens[row] as usize, out);
            });
            add_product(&self.up, self.scale, &mut ws.inner, &mut ws.added, x);
        }
    }
}

impl Embedding {
    /// `x` becomes the embeddings of `tokens`, `[n, dim]`.
    pub fn forward(&self, tokens: &[u32], ws: &mut Workspace, x: &mut [f32]) {
        let table = self.table.matrix();
        for (x, &token) in x.chunks_exact_mut(self.table.cols()).zip(tokens) {
            table.dequantize_row(token as usize, x);
        }
        for update in &self.updates {
            update.add(tokens, ws, x);
        }
    }
}
