//! SwiGLU (Shazeer, arXiv 2002.05202): a feed-forward network, or an expert.

use super::buffer::first;
use super::linear::{self, Linear};
use super::step::{See, Step};
use crate::config::Config;
use bise_kernels::isa::Level;
use bise_kernels::matmul::Activations;
use bise_kernels::ops::swiglu;

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
pub(crate) struct Workspace {
    level: Level,
    /// `[n, hidden_dim]`
    gate: Vec<f32>,
    /// `[n, hidden_dim]`
    up: Vec<f32>,
    /// `[n, hidden_dim]`
    hidden: Activations,
    updates: linear::Workspace,
}

impl Workspace {
    /// For `rows` rows, and adapters of up to `rank`.
    pub fn new(level: Level, config: &Config, rows: usize, rank: usize) -> Self {
        let width = config.hidden_dim;
        Self {
            level,
            gate: vec![0.0; rows * width],
            up: vec![0.0; rows * width],
            hidden: Activations::with_capacity(level, rows, width),
            updates: linear::Workspace::new(level, rows, width.max(config.dim), rank),
        }
    }
}

impl SwiGlu {
    /// `x` is `[n, dim]`, `out` becomes as much. `expert` is what steps call the network.
    pub fn forward(
        &self,
        expert: usize,
        x: &mut Activations,
        ws: &mut Workspace,
        see: See<'_>,
        out: &mut [f32],
    ) {
        let (n, width) = (x.len(), self.w2.inputs());
        see(Step::ExpertInput(expert), x.values());
        let (gate, up) = (first(&mut ws.gate, n * width), first(&mut ws.up, n * width));
        self.w1.forward(x, &mut ws.updates, gate);
        self.w3.forward(x, &mut ws.updates, up);
        see(Step::Gate(expert), gate);
        see(Step::Up(expert), up);
        let (level, gate, up) = (ws.level, &*gate, &*up);
        ws.hidden.fill(n, width, |row, out| {
            let here = row * width..(row + 1) * width;
            swiglu(level, &gate[here.clone()], &up[here], out);
        });
        see(Step::Hidden(expert), ws.hidden.values());
        self.w2.forward(&mut ws.hidden, &mut ws.updates, out);
        see(Step::Down(expert), out);
    }
}
