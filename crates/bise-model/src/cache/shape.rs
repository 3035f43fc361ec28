//! How much of a text's keys and values is kept.

use crate::config::Config;
use bise_kernels::ops::{CHUNK, KvType};
use std::ops::Range;

/// The last positions that can be taken back whatever the window.
pub(crate) const REWIND: usize = CHUNK;

/// What a cache is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KvShape {
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub kind: KvType,
    /// Of each layer: keys that a query sees, its own included; `None` sees all before it.
    pub windows: Vec<Option<usize>>,
}

impl KvShape {
    /// What the keys and values of a model are.
    pub fn new(config: &Config, kind: KvType) -> Self {
        Self {
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            kind,
            windows: config.layers.iter().map(|layer| layer.window).collect(),
        }
    }

    /// Bytes of a page: keys and values of 64 positions of a layer, `[kv_head][chunk]`.
    pub fn page_bytes(&self) -> usize {
        self.n_kv_heads * self.chunk_bytes()
    }

    /// Bytes of a head's share of a page.
    pub fn chunk_bytes(&self) -> usize {
        self.kind.chunk_bytes(self.head_dim)
    }

    /// Positions that the query at `position` sees in a layer: at most a window, its own included.
    pub fn visible(&self, layer: usize, position: usize) -> Range<usize> {
        let window = self.windows[layer].unwrap_or(usize::MAX);
        (position + 1).saturating_sub(window)..position + 1
    }

    /// The first chunk that a layer keeps of a text of `len` tokens: all that the last [`REWIND`]
    /// positions and those to come see.
    pub fn first_kept(&self, layer: usize, len: usize) -> usize {
        self.windows[layer].map_or(0, |window| {
            len.div_ceil(CHUNK).saturating_sub(kept_of_window(window))
        })
    }

    /// Pages that a text takes at most while `rows` rows of it are processed: of `tokens` tokens
    /// where a layer sees all, of any length where it has a window.
    fn pages(&self, tokens: usize, rows: usize) -> u64 {
        let whole = tokens.div_ceil(CHUNK);
        let of = |window: &Option<usize>| {
            window.map_or(whole, |window| {
                kept_of_window(window).saturating_add(rows.div_ceil(CHUNK))
            }) as u64
        };
        self.windows.iter().map(of).sum()
    }

    /// Bytes of these pages.
    pub fn bytes(&self, tokens: usize, rows: usize) -> u64 {
        self.pages(tokens, rows).saturating_mul(self.page_bytes() as u64)
    }

    /// Positions that a token of a text of up to `tokens` tokens sees at most; of any length where
    /// all layers have a window.
    pub fn visible_tokens(&self, tokens: usize) -> usize {
        let of = |window: &Option<usize>| window.unwrap_or(tokens);
        self.windows.iter().map(of).max().unwrap_or(tokens)
    }

    /// Whether all layers see alike.
    pub fn is_uniform(&self) -> bool {
        self.windows.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// Chunks kept of a layer with a window of `W` keys. While chunk `c` is written, the oldest visible
/// key lies at most `W - 1` before its start; one chunk more lets the last [`REWIND`] positions be
/// taken back.
fn kept_of_window(window: usize) -> usize {
    (window - 1).div_ceil(CHUNK) + 1 + REWIND / CHUNK
}
