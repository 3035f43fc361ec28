//! A linear map without bias.

use bise_kernels::isa::Level;
use bise_kernels::matmul::{Activations, Weights, matmul};

/// `y = x w^T`, with `w` `[outputs, inputs]`.
pub(crate) struct Linear(pub Weights);

impl Linear {
    /// `x` is `[n, inputs]`, `out` becomes `[n, outputs]`.
    pub fn forward(&self, level: Level, x: &mut Activations, out: &mut [f32]) {
        matmul(level, &self.0, x, out);
    }
}
