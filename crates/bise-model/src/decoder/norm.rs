//! RMSNorm (Zhang and Sennrich, arXiv 1910.07467).

use bise_kernels::isa::Level;
use bise_kernels::matmul::Activations;
use bise_kernels::ops::rms_norm;

/// `y = x / sqrt(mean(x^2) + eps) * weight`
pub(crate) struct RmsNorm {
    /// `[dim]`
    pub weight: Vec<f32>,
    pub eps: f32,
}

impl RmsNorm {
    /// `x` is `[n, dim]`; `out` becomes as much.
    pub fn forward(&self, level: Level, x: &[f32], out: &mut Activations) {
        let dim = self.weight.len();
        self.forward_rows(level, x.len() / dim, |n| &x[n * dim..][..dim], out);
    }

    /// `out` becomes `n` rows, of which `row(i)` is the input of row `i`, `[dim]`.
    pub fn forward_rows<'a>(
        &self,
        level: Level,
        n: usize,
        row: impl Fn(usize) -> &'a [f32] + Sync + Send,
        out: &mut Activations,
    ) {
        out.fill(n, self.weight.len(), |i, out| {
            rms_norm(level, row(i), &self.weight, self.eps, out);
        });
    }
}
