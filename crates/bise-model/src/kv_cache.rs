//! The keys and values of past tokens.
//!
//! Positions are held in chunks of [`CHUNK`], as attention walks them. Without a window chunk `c` has a place of its
//! own. With a window of `W` keys a ring of `ceil((W - 1) / 64) + 1` chunks is enough for any length of text:
//! while chunk `c` is written, the oldest visible key lies at most `W - 1` before its start. Only this file knows
//! the modulo.

use crate::config::Config;
use bise_tensor::block::{F16, F32, Format};
use bise_tensor::ops::{CHUNK, KvChunk};
use std::ops::Range;

/// The format of cached keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// Two bytes a value.
    #[default]
    F16,
    /// Four bytes a value.
    F32,
}

impl KvType {
    fn bytes(self) -> usize {
        match self {
            KvType::F16 => F16::BYTES,
            KvType::F32 => F32::BYTES,
        }
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
}

/// Keys and values of all layers.
pub(crate) struct KvCache {
    shape: KvShape,
    kind: KvType,
    /// Chunks held of each head.
    chunks: usize,
    layers: Vec<Layer>,
}

struct Layer {
    /// `[kv_head][chunk][head_dim][64]`
    keys: Vec<u8>,
    /// `[kv_head][chunk][64][head_dim rounded up to 16]`
    values: Vec<u8>,
}

impl KvCache {
    /// An empty cache, or `None` when the system has no room for it.
    pub fn new(shape: KvShape, kind: KvType) -> Option<Self> {
        let whole = shape.context.div_ceil(CHUNK);
        Self::with_chunks(
            shape,
            kind,
            shape.window.map_or(whole, |w| (w - 1).div_ceil(CHUNK) + 1),
        )
    }

    /// A cache of `chunks` chunks a head; more than the window needs change nothing but when they are used again.
    pub fn with_chunks(shape: KvShape, kind: KvType, chunks: usize) -> Option<Self> {
        let stride = shape.head_dim.next_multiple_of(16);
        let positions = chunks.checked_mul(CHUNK * kind.bytes() * shape.n_kv_heads)?;
        let (keys, values) = (
            positions.checked_mul(shape.head_dim)?,
            positions.checked_mul(stride)?,
        );
        let all = keys.checked_add(values)?.checked_mul(shape.n_layers)?;
        Vec::<u8>::new().try_reserve_exact(all).ok()?;
        let layer = || Layer {
            keys: vec![0; keys],
            values: vec![0; values],
        };
        Some(Self {
            shape,
            kind,
            chunks,
            layers: (0..shape.n_layers).map(|_| layer()).collect(),
        })
    }

    pub fn kind(&self) -> KvType {
        self.kind
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(|l| l.keys.len() + l.values.len()).sum()
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

    /// Stores one position of a layer; `keys` and `values` are `[kv_head][head_dim]`.
    pub fn store(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        match self.kind {
            KvType::F16 => self.store_as::<F16>(layer, position, keys, values),
            KvType::F32 => self.store_as::<F32>(layer, position, keys, values),
        }
    }

    fn store_as<F: Format>(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let (dim, j) = (self.shape.head_dim, position % CHUNK);
        let stride = dim.next_multiple_of(16);
        for head in 0..self.shape.n_kv_heads {
            let chunk = self.place(head, position / CHUNK);
            let Layer {
                keys: to_keys,
                values: to_values,
            } = &mut self.layers[layer];
            for d in 0..dim {
                let key = ((chunk * dim + d) * CHUNK + j) * F::BYTES;
                F::quantize(
                    &keys[head * dim + d..][..1],
                    None,
                    &mut to_keys[key..key + F::BYTES],
                );
                let value = ((chunk * CHUNK + j) * stride + d) * F::BYTES;
                F::quantize(
                    &values[head * dim + d..][..1],
                    None,
                    &mut to_values[value..value + F::BYTES],
                );
            }
        }
    }

    /// Chunk `c` of a head; parts of it that are not visible hold anything.
    pub fn chunk(&self, layer: usize, head: usize, c: usize) -> KvChunk<'_> {
        let Layer { keys, values } = &self.layers[layer];
        let size = |width: usize| width * CHUNK * self.kind.bytes();
        let (k, v) = (
            size(self.shape.head_dim),
            size(self.shape.head_dim.next_multiple_of(16)),
        );
        let place = self.place(head, c);
        KvChunk {
            keys: &keys[place * k..(place + 1) * k],
            values: &values[place * v..(place + 1) * v],
        }
    }

    /// Where chunk `c` of a head lies among all chunks of a layer.
    fn place(&self, head: usize, c: usize) -> usize {
        head * self.chunks + c % self.chunks
    }
}
