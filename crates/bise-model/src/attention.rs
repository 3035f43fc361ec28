//! Grouped-query attention over a sliding window (Mistral 7B, section 2).

use crate::config::Config;
use crate::context::Scratch;
use crate::kv_cache::{KvCache, KvType};
use crate::linear::Linear;
use bise_tensor::block::{F16, F32};
use bise_tensor::isa::Level;
use bise_tensor::ops::{self, attend};
use bise_tensor::threads::for_each_strip;
use std::ops::Range;

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
        let (q_width, kv_width) = (
            config.n_heads * config.head_dim,
            config.n_kv_heads * config.head_dim,
        );
        let (q, k, v) = (
            &mut s.q[..n * q_width],
            &mut s.k[..n * kv_width],
            &mut s.v[..n * kv_width],
        );
        self.wq.forward(s.level, &mut s.input, q);
        self.wk.forward(s.level, &mut s.input, k);
        self.wv.forward(s.level, &mut s.input, v);
        s.rope.rotate(s.level, q, config.head_dim);
        s.rope.rotate(s.level, k, config.head_dim);
        let scale = 1.0 / (config.head_dim as f32).sqrt();
        q.iter_mut().for_each(|q| *q *= scale);

        let heads = &mut s.heads[..n * q_width];
        let mut done = 0;
        while done < n {
            let next = done + cache.storable(first + done, n - done);
            for t in done..next {
                cache.store(
                    layer,
                    first + t,
                    &k[t * kv_width..][..kv_width],
                    &v[t * kv_width..][..kv_width],
                );
            }
            let tokens = Queries {
                config,
                level: s.level,
                layer,
                positions: first + done..first + next,
            };
            tokens.attend(
                cache,
                &q[done * q_width..next * q_width],
                &mut heads[done * q_width..next * q_width],
            );
            done = next;
        }
        s.joined.set(s.level, heads, q_width);
        self.wo
            .forward(s.level, &mut s.joined, &mut s.delta[..n * config.dim]);
    }
}

/// Neighbouring tokens whose keys and values are stored.
struct Queries<'a> {
    config: &'a Config,
    level: Level,
    layer: usize,
    positions: Range<usize>,
}

impl Queries<'_> {
    /// `q` and `out` are `[tokens][n_heads][head_dim]`; query head `h` reads key head `h / (n_heads / n_kv_heads)`.
    fn attend(&self, cache: &KvCache, q: &[f32], out: &mut [f32]) {
        let &Config {
            n_heads,
            n_kv_heads,
            head_dim,
            ..
        } = self.config;
        let width = n_heads * head_dim;
        for_each_strip(out, width, head_dim, |column, mut strip| {
            let kv_head = column / head_dim / (n_heads / n_kv_heads);
            for (t, position) in self.positions.clone().enumerate() {
                let attention = ops::Attention {
                    query: &q[t * width + column..][..head_dim],
                    visible: cache.visible(position),
                    chunk: |c| cache.chunk(self.layer, kv_head, c),
                    out: strip.row(t),
                };
                match cache.kind() {
                    KvType::F16 => attend::<F16>(self.level, attention),
                    KvType::F32 => attend::<F32>(self.level, attention),
                }
            }
        });
    }
}
