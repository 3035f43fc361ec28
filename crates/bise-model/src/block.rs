//! One transformer block.

use crate::attention::Attention;
use crate::config::Config;
use crate::context::Scratch;
use crate::feed_forward::FeedForward;
use crate::kv_cache::KvCache;
use bise_tensor::ops::{add_scaled, rms_norm};

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
        normalize(s, &self.attention_norm, config);
        self.attention.forward(config, cache, layer, first, s);
        add_residual(s);
        normalize(s, &self.ffn_norm, config);
    }
}

/// Makes `s.input` the normalised `s.x`.
fn normalize(s: &mut Scratch, weight: &[f32], config: &Config) {
    let delta = &mut s.delta[..s.x.len()];
    rms_norm(s.level, &s.x, weight, config.norm_eps, delta);
    s.input.set(s.level, delta, config.dim);
}

/// Adds what a layer left in `s.delta` to `s.x`.
pub(crate) fn add_residual(s: &mut Scratch) {
    add_scaled(s.level, 1.0, &s.delta[..s.x.len()], &mut s.x);
}
