//! One transformer block.

use super::attention::{self, Attention};
use super::buffer::first;
use super::feed_forward::{self, FeedForward};
use super::norm::RmsNorm;
use super::step::{See, Step};
use crate::cache::BatchKv;
use crate::config::Config;
use crate::error::LoadError;
use bise_kernels::isa::Level;
use bise_kernels::matmul::Activations;
use bise_kernels::ops::{RopeTable, add_scaled};
use bise_kernels::threads::for_each_piece;

/// A block of Mistral or Mixtral, which differ in `feed_forward` only.
pub(crate) struct Block {
    pub attention_norm: RmsNorm,
    pub attention: Attention,
    pub ffn_norm: RmsNorm,
    pub feed_forward: FeedForward,
}

/// The rows of a batch on their way through the blocks.
pub(crate) struct Rows<'a> {
    /// `[n, dim]`: the residual stream.
    pub x: &'a mut [f32],
    /// The rotation of each row's position.
    pub rope: &'a RopeTable,
    /// Keys and values of the rows' sequences.
    pub kv: &'a mut BatchKv,
}

/// What a block works in.
pub(crate) struct Workspace {
    level: Level,
    /// `[n, dim]`: what a layer works on.
    input: Activations,
    /// `[n, dim]`: what a layer adds to the residual stream.
    branch: Vec<f32>,
    attention: attention::Workspace,
    feed_forward: feed_forward::Workspace,
}

impl Workspace {
    /// The instruction set.
    pub fn level(&self) -> Level {
        self.level
    }

    /// For `rows` rows, of which one is decoded with keys of `tokens` positions, and adapters of up
    /// to `rank`.
    pub fn new(level: Level, config: &Config, rows: usize, tokens: usize, rank: usize) -> Self {
        Self {
            level,
            input: Activations::with_capacity(level, rows, config.dim),
            branch: vec![0.0; rows * config.dim],
            attention: attention::Workspace::new(level, config, rows, tokens, rank),
            feed_forward: feed_forward::Workspace::new(level, config, rows, rank),
        }
    }
}

impl Block {
    /// `h = x + attention(attention_norm(x))`, then `x = h + feed_forward(ffn_norm(h))`.
    ///
    /// # Errors
    /// When an expert cannot be brought into memory.
    pub fn forward(
        &self,
        layer: usize,
        rows: Rows<'_>,
        ws: &mut Workspace,
        see: See<'_>,
    ) -> Result<(), LoadError> {
        let Rows { x, rope, kv } = rows;
        let branch = first(&mut ws.branch, x.len());

        self.attention_norm.forward(ws.level, x, &mut ws.input);
        see(Step::AttentionNorm, ws.input.values());
        let input = &mut ws.input;
        self.attention
            .forward(input, rope, kv, layer, &mut ws.attention, see, branch);
        add_residual(ws.level, branch, x, self.ffn_norm.weight.len());
        see(Step::AfterAttention, x);

        self.ffn_norm.forward(ws.level, x, &mut ws.input);
        see(Step::FeedForwardNorm, ws.input.values());
        let input = &mut ws.input;
        self.feed_forward
            .forward(input, &mut ws.feed_forward, see, branch)?;
        add_residual(ws.level, branch, x, self.ffn_norm.weight.len());
        see(Step::AfterFeedForward, x);
        Ok(())
    }
}

/// `x = x + branch`, both `[n, dim]`.
fn add_residual(level: Level, branch: &[f32], x: &mut [f32], dim: usize) {
    for_each_piece(x, dim, |n, x| {
        add_scaled(level, 1.0, &branch[n * dim..][..dim], x);
    });
}
