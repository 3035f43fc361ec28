//! The keys and values of all sequences of a batch, row by row.

use super::kv_cache::KvCache;
use bise_kernels::isa::Level;
use bise_kernels::ops::{KeyValues, KvType};
use std::ops::Range;

/// The caches of a batch's parts, and which rows are whose.
pub(crate) struct BatchKv {
    kind: KvType,
    /// Of each part.
    caches: Vec<KvCache>,
    /// The rows of each part.
    parts: Vec<Range<usize>>,
    /// Of each row: its part, and its position in the part's sequence.
    rows: Vec<(usize, usize)>,
}

impl BatchKv {
    /// Without parts, and with room for `rows` rows.
    pub fn new(kind: KvType, rows: usize) -> Self {
        Self {
            kind,
            caches: Vec::new(),
            parts: Vec::new(),
            rows: Vec::with_capacity(rows),
        }
    }

    /// The format of keys and values.
    pub fn kind(&self) -> KvType {
        self.kind
    }

    /// Adds a part: `n` rows of the sequence of `cache`, the first at position `first`.
    pub fn push(&mut self, cache: KvCache, first: usize, n: usize) {
        let part = self.caches.len();
        self.caches.push(cache);
        self.parts.push(self.rows.len()..self.rows.len() + n);
        self.rows
            .extend((first..first + n).map(|position| (part, position)));
    }

    /// Takes all parts out, and gives their caches.
    pub fn take(&mut self) -> impl Iterator<Item = KvCache> {
        self.parts.clear();
        self.rows.clear();
        self.caches.drain(..)
    }

    /// The rows of each part.
    pub fn parts(&self) -> &[Range<usize>] {
        &self.parts
    }

    /// The position of each row.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().map(|(_, position)| *position)
    }

    /// Stores the rows' keys and values in a layer; both are `[row][kv_head][head_dim]`.
    pub fn store(&mut self, level: Level, layer: usize, keys: &[f32], values: &[f32]) {
        let width = keys.len() / self.rows.len().max(1);
        let parts = self.caches.iter_mut().zip(&self.parts);
        for (cache, rows) in parts.filter(|(_, rows)| !rows.is_empty()) {
            let here = rows.start * width..rows.end * width;
            let first = self.rows[rows.start].1;
            cache.store(level, layer, first, &keys[here.clone()], &values[here]);
        }
    }

    /// A layer's keys and values.
    pub fn layer(&self, layer: usize) -> LayerKv<'_> {
        LayerKv { kv: self, layer }
    }
}

/// What the rows of a batch see in a layer.
pub(crate) struct LayerKv<'a> {
    kv: &'a BatchKv,
    layer: usize,
}

impl KeyValues for LayerKv<'_> {
    fn visible(&self, row: usize) -> Range<usize> {
        let (part, position) = self.kv.rows[row];
        self.kv.caches[part].shape().visible(self.layer, position)
    }

    fn chunk(&self, row: usize, head: usize, c: usize) -> &[u8] {
        self.kv.caches[self.kv.rows[row].0].chunk(self.layer, head, c)
    }
}
