//! One transformer block.

use crate::attention::Attention;
use crate::config::Config;
use crate::context::Scratch;
use crate::feed_forward::FeedForward;
use crate::kv_cache::KvCache;
use bise_tensor::ops::{add_scaled, rms_norm};
use bise_tensor::threads::for_each_piece;
use std::ops::Range;

/// A block of Mistral or Mixtral, which differ in `feed_forward` only.
pub(crate) struct Block {
    /// `[dim]`
    pub attention_norm: Vec<f32>,
    pub attention: Attention,
    /// `[dim]`
    pub ffn_norm: Vec<f32>,
    pub feed_forward: FeedForward,
}

impl Block {
    /// `h = x + attention(attention_norm(x))`, then `x = h + feed_forward(ffn_norm(h))`, for the tokens of `s.x`.
    pub fn forward(&self, config: &Config, cache: &mut KvCache, layer: usize, first: usize, s: &mut Scratch) {
        self.attend(config, cache, layer, first, s);
        self.feed_forward.forward(s);
        add_residual(s);
    }

    /// The first half: `s.x` becomes `h`, and `s.input` what the feed-forward layer works on.
    pub fn attend(&self, config: &Config, cache: &mut KvCache, layer: usize, first: usize, s: &mut Scratch) {
        let n = s.x.len() / config.dim;
        normalize(s, 0..n, &self.attention_norm, config.norm_eps);
        self.attention.forward(config, cache, layer, first, s);
        add_residual(s);
        normalize(s, 0..n, &self.ffn_norm, config.norm_eps);
    }
}

/// Makes `s.input` the normalised rows `rows` of `s.x`.
pub(crate) fn normalize(s: &mut Scratch, rows: Range<usize>, weight: &[f32], eps: f32) {
    let (level, dim) = (s.level, weight.len());
    let x = &s.x[rows.start * dim..rows.end * dim];
    s.input.fill(rows.len(), dim, |n, row| {
        rms_norm(level, &x[n * dim..][..dim], weight, eps, row);
    });
}

/// Adds what a layer left in `s.delta` to `s.x`.
pub(crate) fn add_residual(s: &mut Scratch) {
    let (level, dim, delta) = (s.level, s.input.width(), &s.delta);
    for_each_piece(&mut s.x, dim, |n, x| {
        add_scaled(level, 1.0, &delta[n * dim..][..dim], x);
    });
}
