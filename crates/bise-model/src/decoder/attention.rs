//! Grouped-query attention over a sliding window (Mistral 7B, section 2).

use super::buffer::first;
use super::linear::{self, Linear};
use super::step::{See, Step};
use crate::cache::{BatchKv, CHUNK};
use crate::config::Config;
use bise_kernels::isa::Level;
use bise_kernels::matmul::Activations;
use bise_kernels::ops::{self, AttentionWorkspace, RopeTable};

/// The attention of one block.
pub(crate) struct Attention {
    /// `[n_heads * head_dim, dim]`
    pub wq: Linear,
    /// `[n_kv_heads * head_dim, dim]`
    pub wk: Linear,
    /// `[n_kv_heads * head_dim, dim]`
    pub wv: Linear,
    /// `[dim, n_heads * head_dim]`
    pub wo: Linear,
    pub head_dim: usize,
}

/// What attention works in.
pub(crate) struct Workspace {
    level: Level,
    /// `[n, n_heads, head_dim]`
    q: Vec<f32>,
    /// `[n, n_kv_heads, head_dim]`
    k: Vec<f32>,
    /// `[n, n_kv_heads, head_dim]`
    v: Vec<f32>,
    /// `[n, n_heads, head_dim]`: what each head found.
    heads: Vec<f32>,
    /// `heads`, ready for the output projection.
    joined: Activations,
    attend: AttentionWorkspace,
    updates: linear::Workspace,
}

impl Workspace {
    /// For `rows` rows, of which one is decoded with keys of `tokens` positions, and adapters of up
    /// to `rank`.
    pub fn new(level: Level, config: &Config, rows: usize, tokens: usize, rank: usize) -> Self {
        let (n_heads, head_dim) = (config.n_heads, config.head_dim);
        let (q_width, kv_width) = (n_heads * head_dim, config.n_kv_heads * head_dim);
        let chunks = tokens.div_ceil(CHUNK);
        Self {
            level,
            q: vec![0.0; rows * q_width],
            k: vec![0.0; rows * kv_width],
            v: vec![0.0; rows * kv_width],
            heads: vec![0.0; rows * q_width],
            joined: Activations::with_capacity(level, rows, q_width),
            attend: AttentionWorkspace::with_capacity(1, n_heads, head_dim, chunks),
            updates: linear::Workspace::new(level, rows, q_width.max(config.dim), rank),
        }
    }
}

impl Attention {
    /// Attends from the rows `x`, `[n, dim]`, each at its own position of its own sequence, whose
    /// keys and values `kv` takes for `layer`. `out` becomes `[n, dim]`.
    #[allow(clippy::too_many_arguments)] // what it reads, where it works, and what it writes
    pub fn forward(
        &self,
        x: &mut Activations,
        rope: &RopeTable,
        kv: &mut BatchKv,
        layer: usize,
        ws: &mut Workspace,
        see: See<'_>,
        out: &mut [f32],
    ) {
        let (n, q_width, kv_width) = (x.len(), self.wq.outputs(), self.wk.outputs());
        let (q, k) = (first(&mut ws.q, n * q_width), first(&mut ws.k, n * kv_width));
        let v = first(&mut ws.v, n * kv_width);
        self.wq.forward(x, &mut ws.updates, q);
        self.wk.forward(x, &mut ws.updates, k);
        self.wv.forward(x, &mut ws.updates, v);
        rope.rotate_queries(ws.level, q, self.head_dim);
        rope.rotate_keys(ws.level, k, self.head_dim);
        see(Step::Query, q);
        see(Step::Key, k);
        see(Step::Value, v);
        kv.store(ws.level, layer, k, v);
        let heads = first(&mut ws.heads, n * q_width);
        let attention = ops::Attention {
            queries: q,
            parts: kv.parts(),
            kv: &kv.layer(layer),
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            heads: q_width / self.head_dim,
            kv_heads: kv_width / self.head_dim,
            head_dim: self.head_dim,
        };
        ops::attend(ws.level, kv.kind(), &attention, &mut ws.attend, heads);
        see(Step::Heads, heads);
        ws.joined.set(heads, q_width);
        self.wo.forward(&mut ws.joined, &mut ws.updates, out);
        see(Step::AttentionOutput, out);
    }
}
