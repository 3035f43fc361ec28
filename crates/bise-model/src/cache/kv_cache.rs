//! The keys and values of a sequence.
//!
//! Positions are held in pages of 64, the chunks in which attention walks them; a layer has its
//! pages in a row. They are taken when tokens come. A layer with a window of `W` keys lets go of
//! those that no later token sees, so that it keeps `ceil((W - 1) / 64) + 2` of a text of any
//! length. Copies share pages until one of them writes.

use super::pages::{NoPage, Page, PagePool};
use super::shape::KvShape;
use bise_kernels::isa::Level;
use bise_kernels::ops::{self, CHUNK};
use bise_kernels::threads::for_each_piece;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;

/// Keys and values of all layers.
pub(crate) struct KvCache {
    pool: Arc<PagePool>,
    layers: Vec<Pages>,
}

/// The pages of a layer.
#[derive(Default)]
struct Pages {
    /// The chunk that the first page holds.
    first: usize,
    pages: Vec<Arc<Page>>,
}

impl Pages {
    /// The chunk after the last one that is held.
    fn end(&self) -> usize {
        self.first + self.pages.len()
    }

    /// Lets go of the chunks from `end` on.
    fn cut(&mut self, end: usize, pool: &PagePool) {
        let kept = end.saturating_sub(self.first).min(self.pages.len());
        self.pages.drain(kept..).for_each(|page| pool.give(page));
    }

    /// Lets go of the chunks before `first`.
    fn forget(&mut self, first: usize, pool: &PagePool) {
        let old = first.saturating_sub(self.first).min(self.pages.len());
        self.pages.drain(..old).for_each(|page| pool.give(page));
        self.first += old;
    }
}

impl Drop for KvCache {
    fn drop(&mut self) {
        self.clear();
    }
}

impl KvCache {
    /// An empty cache, whose pages come from `pool`.
    pub fn new(pool: Arc<PagePool>) -> Self {
        let layers = pool.shape.windows.iter().map(|_| Pages::default()).collect();
        Self { pool, layers }
    }

    /// A cache without layers, which stands where another was taken from.
    pub fn placeholder(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            layers: Vec::new(),
        }
    }

    /// Where its pages come from.
    pub fn pool(&self) -> &Arc<PagePool> {
        &self.pool
    }

    /// What it is for.
    pub fn shape(&self) -> &KvShape {
        &self.pool.shape
    }

    /// Bytes of the pages, those that are shared included.
    pub fn bytes(&self) -> usize {
        let pages: usize = self.layers.iter().map(|layer| layer.pages.len()).sum();
        pages * self.shape().page_bytes()
    }

    /// Bytes of the pages that `other` has too.
    pub fn bytes_shared_with(&self, other: &Self) -> usize {
        let same = |(a, b): (&Pages, &Pages)| {
            let theirs = |page: &&Arc<Page>| b.pages.iter().any(|other| Arc::ptr_eq(other, page));
            a.pages.iter().filter(theirs).count()
        };
        let layers = self.layers.iter().zip(&other.layers);
        layers.map(same).sum::<usize>() * self.shape().page_bytes()
    }

    /// Takes the pages that positions `first..first + n` need, and makes those its own that others
    /// have too. `first` is the number of positions that are there.
    ///
    /// # Errors
    /// When there are no more pages; [`truncate`](Self::truncate) gives those back that were taken.
    pub fn reserve(&mut self, first: usize, n: usize) -> Result<(), NoPage> {
        if n == 0 {
            return Ok(());
        }
        let written = first / CHUNK..(first + n).div_ceil(CHUNK);
        for layer in &mut self.layers {
            for c in written.start..layer.end().min(written.end) {
                let page = &mut layer.pages[c - layer.first];
                if Arc::get_mut(page).is_none() {
                    let mut own = self.pool.take()?;
                    let bytes = &mut Arc::get_mut(&mut own).ok_or(NoPage)?.bytes;
                    bytes.copy_from_slice(&page.bytes);
                    self.pool.give(std::mem::replace(page, own));
                }
            }
            while layer.end() < written.end {
                layer.pages.push(self.pool.take()?);
            }
        }
        Ok(())
    }

    /// Pages that [`reserve`](Self::reserve) would take.
    pub fn pages_needed(&self, first: usize, n: usize) -> u64 {
        let written = first / CHUNK..(first + n).div_ceil(CHUNK);
        let of = |layer: &Pages| {
            let there = written.start..layer.end().min(written.end);
            let shared = |c: &usize| Arc::strong_count(&layer.pages[c - layer.first]) > 1;
            let more = written.end.saturating_sub(layer.end());
            (there.filter(shared).count() + more) as u64
        };
        match n {
            0 => 0,
            _ => self.layers.iter().map(of).sum(),
        }
    }

    /// Stores the positions from `first` on in a layer, which were reserved; `keys` and `values`
    /// are `[position][kv_head][head_dim]`.
    pub fn store(
        &mut self,
        level: Level,
        layer: usize,
        first: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let KvShape {
            n_kv_heads,
            head_dim: dim,
            kind,
            ..
        } = self.pool.shape;
        let (width, bytes) = (n_kv_heads * dim, self.pool.shape.chunk_bytes());
        let end = first + keys.len() / width;
        let (chunks, layer) = (first / CHUNK..end.div_ceil(CHUNK), &mut self.layers[layer]);
        let pages = &mut layer.pages[chunks.start - layer.first..chunks.end - layer.first];
        for_each_piece(pages, 1, |i, page| {
            let page = Arc::get_mut(&mut page[0]).expect("a page that was reserved");
            let start = (chunks.start + i) * CHUNK;
            for position in start.max(first)..(start + CHUNK).min(end) {
                let row = (position - first) * width;
                for (head, chunk) in page.bytes.chunks_exact_mut(bytes).enumerate() {
                    let at = row + head * dim;
                    let pair = [&keys[at..][..dim], &values[at..][..dim]];
                    ops::store(level, kind, position % CHUNK, pair, chunk);
                }
            }
        });
    }

    /// Chunk `c` of a head, which is held; parts of it that are not visible hold anything.
    pub fn chunk(&self, layer: usize, head: usize, c: usize) -> &[u8] {
        let (bytes, layer) = (self.shape().chunk_bytes(), &self.layers[layer]);
        &layer.pages[c - layer.first].bytes[head * bytes..][..bytes]
    }

    /// Whether all that the query at `position` sees is still there.
    pub fn holds(&self, position: usize) -> bool {
        let mut layers = self.layers.iter().enumerate();
        layers.all(|(i, layer)| self.shape().visible(i, position).start / CHUNK >= layer.first)
    }

    /// Lets go of what lies behind the first `len` positions.
    pub fn truncate(&mut self, len: usize) {
        let end = len.div_ceil(CHUNK);
        for layer in &mut self.layers {
            layer.cut(end, &self.pool);
        }
    }

    /// Lets go of what no token after the first `len` positions sees, nor any of the last
    /// [`REWIND`](super::REWIND).
    pub fn trim(&mut self, len: usize) {
        for (i, layer) in self.layers.iter_mut().enumerate() {
            layer.forget(self.pool.shape.first_kept(i, len), &self.pool);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for layer in &mut self.layers {
            layer.cut(0, &self.pool);
            layer.first = 0;
        }
    }

    /// The first `len` positions, in the same pages.
    pub fn share(&self, len: usize) -> Self {
        let end = len.div_ceil(CHUNK);
        let of = |layer: &Pages| {
            let kept = end.saturating_sub(layer.first).min(layer.pages.len());
            Pages {
                first: layer.first,
                pages: layer.pages[..kept].to_vec(),
            }
        };
        Self {
            pool: self.pool.clone(),
            layers: self.layers.iter().map(of).collect(),
        }
    }

    /// The shortest beginning of the first `len` positions that can be gone on from; `None` when
    /// not even all of them can.
    pub fn earliest(&self, len: usize) -> Option<usize> {
        let of = |(layer, window): (&Pages, &Option<usize>)| match (layer.first, window) {
            (0, _) | (_, None) => 0,
            (first, Some(window)) => first * CHUNK + window - 1,
        };
        let layers = self.layers.iter().zip(&self.shape().windows).map(of);
        let earliest = layers.max().unwrap_or(0);
        match len {
            0 => Some(0),
            _ => (earliest <= len).then_some(earliest),
        }
    }

    /// The chunks of a layer that [`write`](Self::write) writes of the first `len` positions: what
    /// is seen from `earliest` on.
    fn written(&self, layer: usize, earliest: usize, len: usize) -> Range<usize> {
        let end = len.div_ceil(CHUNK);
        let first = self.shape().visible(layer, earliest).start / CHUNK;
        first.min(end)..end
    }

    /// The chunks that are written of any layer.
    fn all_written(&self, earliest: usize, len: usize) -> Range<usize> {
        let starts = (0..self.layers.len()).map(|i| self.written(i, earliest, len).start);
        starts.min().unwrap_or(0)..len.div_ceil(CHUNK)
    }

    /// Writes what is seen from position [`earliest`](Self::earliest) on to the first `len`, a
    /// chunk after the other: each `[layer][kv_head][chunk_bytes]`, of the layers that have it.
    pub fn write(&self, earliest: usize, len: usize, out: &mut impl Write) -> io::Result<()> {
        for c in self.all_written(earliest, len) {
            for (i, layer) in self.layers.iter().enumerate() {
                if self.written(i, earliest, len).contains(&c) {
                    out.write_all(&layer.pages[c - layer.first].bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Forgets everything, and reads what [`write`](Self::write) wrote of `len` positions.
    pub fn read(&mut self, earliest: usize, len: usize, input: &mut impl Read) -> io::Result<()> {
        self.clear();
        for i in 0..self.layers.len() {
            self.layers[i].first = self.written(i, earliest, len).start;
        }
        for c in self.all_written(earliest, len) {
            for i in 0..self.layers.len() {
                if self.written(i, earliest, len).contains(&c) {
                    let out_of_memory = |NoPage| io::Error::from(io::ErrorKind::OutOfMemory);
                    let mut page = self.pool.take().map_err(out_of_memory)?;
                    let own = Arc::get_mut(&mut page).expect("a page that nobody else has");
                    let read = input.read_exact(&mut own.bytes);
                    self.layers[i].pages.push(page);
                    read?;
                }
            }
        }
        Ok(())
    }

    /// Bytes that [`write`](Self::write) writes, if there can be so many.
    pub fn written_bytes(&self, earliest: usize, len: usize) -> Option<u64> {
        let chunks = |i| self.written(i, earliest, len).len() as u64;
        let pages: u64 = (0..self.layers.len()).map(chunks).sum();
        pages.checked_mul(self.shape().page_bytes() as u64)
    }
}
