//! The keys and values of past tokens.
//!
//! Positions are held in chunks of [`CHUNK`], as attention walks them. Without a window chunk `c` has a place of its
//! own. With a window of `W` keys a ring of `ceil((W - 1) / 64) + 1` chunks is enough for any length of text:
//! while chunk `c` is written, the oldest visible key lies at most `W - 1` before its start. Only this file knows
//! the modulo.

use crate::config::Config;
use bise_tensor::isa::Level;
use bise_tensor::ops::{self, CHUNK, KvType};
use bise_tensor::threads::for_each_piece;
use std::ops::Range;

/// What a cache is for.
#[derive(Clone, Copy)]
pub(crate) struct KvShape {
    pub n_layers: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    /// Positions, when there is no window.
    pub context: usize,
    pub window: Option<usize>,
}

impl KvShape {
    pub fn new(config: &Config, context: usize) -> Self {
        let &Config {
            n_layers,
            n_kv_heads,
            head_dim,
            sliding_window: window,
            ..
        } = config;
        Self {
            n_layers,
            n_kv_heads,
            head_dim,
            context,
            window,
        }
    }

    /// Chunks held of each head.
    pub fn chunks(&self) -> usize {
        let whole = self.context.div_ceil(CHUNK);
        self.window.map_or(whole, |w| (w - 1).div_ceil(CHUNK) + 1)
    }

    /// Bytes that a cache takes.
    pub fn bytes(&self, kind: KvType) -> u64 {
        let factors = [self.chunks(), self.n_kv_heads, kind.chunk_bytes(self.head_dim)];
        let layer = factors.iter().fold(1u64, |n, &f| n.saturating_mul(f as u64));
        layer.saturating_mul(self.n_layers as u64)
    }
}

/// Keys and values of all layers.
pub(crate) struct KvCache {
    shape: KvShape,
    kind: KvType,
    /// Chunks held of each head.
    chunks: usize,
    /// Bytes of a chunk.
    chunk_bytes: usize,
    /// Of each layer `[kv_head][chunk][chunk_bytes]`.
    layers: Vec<Vec<u8>>,
}

impl KvCache {
    /// An empty cache, or `None` when the system has no room for it.
    pub fn new(shape: KvShape, kind: KvType) -> Option<Self> {
        Self::with_chunks(shape, kind, shape.chunks())
    }

    /// A cache of `chunks` chunks a head; more than the window needs change nothing but when they are used again.
    pub fn with_chunks(shape: KvShape, kind: KvType, chunks: usize) -> Option<Self> {
        let chunk_bytes = kind.chunk_bytes(shape.head_dim);
        let layer = chunks.checked_mul(shape.n_kv_heads)?.checked_mul(chunk_bytes)?;
        Vec::<u8>::new()
            .try_reserve_exact(layer.checked_mul(shape.n_layers)?)
            .ok()?;
        Some(Self {
            shape,
            kind,
            chunks,
            chunk_bytes,
            layers: (0..shape.n_layers).map(|_| vec![0; layer]).collect(),
        })
    }

    pub fn kind(&self) -> KvType {
        self.kind
    }

    /// Chunks held of each head: no query sees keys in more.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(Vec::len).sum()
    }

    /// Positions that the query at `position` sees: at most a window, its own included.
    pub fn visible(&self, position: usize) -> Range<usize> {
        let window = self.shape.window.unwrap_or(usize::MAX);
        (position + 1).saturating_sub(window)..position + 1
    }

    /// How many of the positions from `first` on may be stored before they attend: storing more would overwrite
    /// keys that the first of them sees.
    pub fn storable(&self, first: usize, wanted: usize) -> usize {
        if self.shape.window.is_none() {
            wanted
        } else {
            wanted.min(CHUNK - first % CHUNK)
        }
    }

    /// Whether, after `len` positions were stored, all that the query at `position` sees is still there.
    pub fn holds(&self, len: usize, position: usize) -> bool {
        self.visible(position).start / CHUNK + self.chunks >= len.div_ceil(CHUNK)
    }

    /// Stores the positions from `first` on in a layer; `keys` and `values` are `[position][kv_head][head_dim]`.
    pub fn store(&mut self, level: Level, layer: usize, first: usize, keys: &[f32], values: &[f32]) {
        let kind = self.kind;
        let (dim, chunks, bytes) = (self.shape.head_dim, self.chunks, self.chunk_bytes);
        let width = self.shape.n_kv_heads * dim;
        for_each_piece(&mut self.layers[layer], chunks * bytes, |head, cached| {
            let rows = keys.chunks_exact(width).zip(values.chunks_exact(width));
            for (position, (key, value)) in (first..).zip(rows) {
                let chunk = &mut cached[position / CHUNK % chunks * bytes..][..bytes];
                let pair = [&key[head * dim..][..dim], &value[head * dim..][..dim]];
                ops::store(level, kind, position % CHUNK, pair, chunk);
            }
        });
    }

    /// Chunk `c` of a head; parts of it that are not visible hold anything.
    pub fn chunk(&self, layer: usize, head: usize, c: usize) -> &[u8] {
        let place = head * self.chunks + c % self.chunks;
        &self.layers[layer][place * self.chunk_bytes..][..self.chunk_bytes]
    }
}
