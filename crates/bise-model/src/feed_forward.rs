//! The feed-forward layer: one SwiGLU network, or a mixture of them.

use crate::context::Scratch;
use crate::inputs::Place;
use crate::linear::Linear;
use crate::moe::SparseMoe;
use bise_tensor::isa::Level;
use bise_tensor::matmul::Activations;
use bise_tensor::ops::swiglu;

/// `w2(silu(w1 x) * w3 x)`
pub(crate) struct SwiGlu {
    /// `[hidden_dim, dim]`
    pub w1: Linear,
    /// `[dim, hidden_dim]`
    pub w2: Linear,
    /// `[hidden_dim, dim]`
    pub w3: Linear,
}

/// What the network works in.
pub(crate) struct Hidden {
    pub gate: Vec<f32>,
    pub up: Vec<f32>,
    pub activations: Activations,
}

impl SwiGlu {
    /// `x` is `[n, dim]`; `out` takes `[n, dim]`.
    pub fn forward(&self, level: Level, x: &mut Activations, hidden: &mut Hidden, out: &mut [f32]) {
        let width = self.w2.0.cols();
        let (gate, up) = (
            &mut hidden.gate[..x.len() * width],
            &mut hidden.up[..x.len() * width],
        );
        self.w1.forward(x, gate);
        self.w3.forward(x, up);
        let (gate, up) = (&*gate, &*up);
        hidden.activations.fill(x.len(), width, |n, row| {
            let here = n * width..(n + 1) * width;
            swiglu(level, &gate[here.clone()], &up[here], row);
        });
        self.w2.forward(&mut hidden.activations, out);
    }
}

/// The feed-forward layer of a block.
pub(crate) enum FeedForward {
    /// Mistral.
    Dense(SwiGlu),
    /// Mixtral.
    SparseMoe(SparseMoe),
}

impl FeedForward {
    /// Works on the tokens of `s.input`; `s.delta` takes the result.
    pub fn forward(&self, s: &mut Scratch) {
        match self {
            FeedForward::Dense(network) => {
                let n = s.input.len() * s.input.width();
                network.forward(s.level, &mut s.input, &mut s.hidden, &mut s.delta[..n]);
                if let Some(inputs) = &mut s.inputs {
                    inputs.add(Place::FeedForward(0), s.input.values());
                    inputs.add(Place::Hidden(0), s.hidden.activations.values());
                }
            }
            FeedForward::SparseMoe(mixture) => mixture.forward(s),
        }
    }
}
