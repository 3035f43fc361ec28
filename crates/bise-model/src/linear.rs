//! A linear map without bias.

use bise_tensor::isa::Level;
use bise_tensor::matmul::{Activations, matmul};
use bise_tensor::tensor::Tensor;

/// `y = x w^T`, with `w` `[outputs, inputs]`.
pub(crate) struct Linear(pub Tensor);

impl Linear {
    /// `x` is `[n, inputs]`, `out` becomes `[n, outputs]`.
    pub fn forward(&self, level: Level, x: &mut Activations, out: &mut [f32]) {
        matmul(level, self.0.matrix(), x, out);
    }
}
