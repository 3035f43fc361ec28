//! Grouped-query attention over a sliding window (Mistral 7B, section 2).

use crate::config::Config;
use crate::context::Scratch;
use crate::inputs::Place;
use crate::kv_cache::KvCache;
use crate::linear::Linear;
use bise_tensor::isa::Level;
use bise_tensor::ops::{self, attend};

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
}

impl Attention {
    /// Attends from the `n` tokens of `s.input`, the first at position `first`; `s.delta` takes the result.
    pub fn forward(&self, config: &Config, cache: &mut KvCache, layer: usize, first: usize, s: &mut Scratch) {
        let n = s.input.len();
        if let Some(inputs) = &mut s.inputs {
            inputs.add(Place::Attention, s.input.values());
        }
        let (q_width, kv_width) = (
            config.n_heads * config.head_dim,
            config.n_kv_heads * config.head_dim,
        );
        let (q, k, v) = (
            &mut s.q[..n * q_width],
            &mut s.k[..n * kv_width],
            &mut s.v[..n * kv_width],
        );
        self.wq.forward(&mut s.input, q);
        self.wk.forward(&mut s.input, k);
        self.wv.forward(&mut s.input, v);
        s.rope.rotate(s.level, q, config.head_dim);
        s.rope.rotate(s.level, k, config.head_dim);
        let heads = &mut s.heads[..n * q_width];
        let mut done = 0;
        while done < n {
            let next = done + cache.storable(first + done, n - done);
            let (kv, queries) = (done * kv_width..next * kv_width, done * q_width..next * q_width);
            cache.store(s.level, layer, first + done, &k[kv.clone()], &v[kv]);
            let tokens = Tokens {
                config,
                level: s.level,
                layer,
                first: first + done,
            };
            tokens.attend(cache, &q[queries.clone()], &mut s.partials, &mut heads[queries]);
            done = next;
        }
        s.joined.set(heads, q_width);
        if let Some(inputs) = &mut s.inputs {
            inputs.add(Place::Heads, heads);
        }
        self.wo.forward(&mut s.joined, &mut s.delta[..n * config.dim]);
    }
}

/// Neighbouring tokens whose keys and values are stored.
struct Tokens<'a> {
    config: &'a Config,
    level: Level,
    layer: usize,
    /// Position of the first.
    first: usize,
}

impl Tokens<'_> {
    /// `queries` and `out` are `[tokens][n_heads][head_dim]`.
    fn attend(&self, cache: &KvCache, queries: &[f32], partials: &mut [f32], out: &mut [f32]) {
        let attention = ops::Attention {
            queries,
            scale: 1.0 / (self.config.head_dim as f32).sqrt(),
            heads: self.config.n_heads,
            kv_heads: self.config.n_kv_heads,
            head_dim: self.config.head_dim,
            visible: &|token| cache.visible(self.first + token),
            chunk: &|head, c| cache.chunk(self.layer, head, c),
        };
        attend(self.level, cache.kind(), &attention, partials, out);
    }
}
