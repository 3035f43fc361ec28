//! A linear map without bias.

use bise_tensor::matmul::{Activations, Weights, matmul};

/// `y = x w^T`, with `w` `[outputs, inputs]`.
pub(crate) struct Linear(pub Weights);

impl Linear {
    /// `x` is `[n, inputs]`, `out` becomes `[n, outputs]`.
    pub fn forward(&self, x: &mut Activations, out: &mut [f32]) {
        matmul(&self.0, x, out);
    }
}
