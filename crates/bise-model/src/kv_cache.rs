//! The keys and values of past tokens.
//!
//! Positions are held in chunks of [`CHUNK`], as attention walks them. Without a window chunk `c` has a place of its
//! own. With a window of `W` keys a ring of `ceil((W - 1) / 64) + 1` chunks is enough for any length of text:
//! while chunk `c` is written, the oldest visible key lies at most `W - 1` before its start. One chunk more lets the
//! last [`REWIND`] positions be taken back at any time, as drafts are. Only this file knows the modulo.

use crate::config::Config;
use bise_kernels::isa::Level;
use bise_kernels::ops::{self, CHUNK, KvType};
use bise_kernels::threads::for_each_piece;
use std::io::{self, Read, Write};
use std::ops::Range;

/// The last positions that can be taken back whatever the window.
pub(crate) const REWIND: usize = CHUNK;

/// GGUF's number for the type of cached keys and values.
pub(crate) fn type_id(kind: KvType) -> u32 {
    match kind {
        KvType::F32 => 0,
        KvType::F16 => 1,
        KvType::Q8_0 => 8,
    }
}

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
        let ring = |window: usize| (window - 1).div_ceil(CHUNK) + 1 + REWIND / CHUNK;
        self.window.map_or(whole, ring)
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
    /// All positions ever stored lie before this one. What was stored in place of older ones is lost to them, even
    /// when it is taken back.
    end: usize,
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
            end: 0,
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

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.end = 0;
    }

    /// Whether all that the query at `position` sees is still there.
    pub fn holds(&self, position: usize) -> bool {
        self.visible(position).start / CHUNK + self.chunks >= self.end.div_ceil(CHUNK)
    }

    /// Chunks of the first `len` positions that are still there.
    pub fn held(&self, len: usize) -> Range<usize> {
        let last = len.div_ceil(CHUNK);
        self.end.div_ceil(CHUNK).saturating_sub(self.chunks).min(last)..last
    }

    /// Stores the positions from `first` on in a layer; `keys` and `values` are `[position][kv_head][head_dim]`.
    pub fn store(&mut self, level: Level, layer: usize, first: usize, keys: &[f32], values: &[f32]) {
        let positions = keys.len() / (self.shape.n_kv_heads * self.shape.head_dim);
        self.end = self.end.max(first + positions);
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

    /// Writes `chunks`, each `[layer][kv_head][chunk_bytes]`.
    pub fn write(&self, chunks: Range<usize>, out: &mut impl Write) -> io::Result<()> {
        for c in chunks {
            for layer in 0..self.shape.n_layers {
                for head in 0..self.shape.n_kv_heads {
                    out.write_all(self.chunk(layer, head, c))?;
                }
            }
        }
        Ok(())
    }

    /// Forgets everything, and reads `chunks` as [`write`](Self::write) wrote them: at most as many as there are, the
    /// last ones of the text.
    pub fn read(&mut self, chunks: Range<usize>, input: &mut impl Read) -> io::Result<()> {
        debug_assert!(chunks.len() <= self.chunks);
        let lost = if chunks.start > 0 {
            chunks.start + self.chunks
        } else {
            0
        };
        self.end = lost.max(chunks.end) * CHUNK;
        for c in chunks {
            for layer in &mut self.layers {
                for head in 0..self.shape.n_kv_heads {
                    let place = head * self.chunks + c % self.chunks;
                    input.read_exact(&mut layer[place * self.chunk_bytes..][..self.chunk_bytes])?;
                }
            }
        }
        Ok(())
    }

    /// Bytes that [`write`](Self::write) writes for a chunk.
    pub fn bytes_of_chunk(&self) -> usize {
        self.shape.n_layers * self.shape.n_kv_heads * self.chunk_bytes
    }
}
