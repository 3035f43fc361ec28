//! A text that a model has read, as keys and values.

use crate::cache::{KvCache, KvShape, PagePool};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// The tokens of a text that an [`Engine`](crate::Engine) has processed, as keys and values of each
/// layer.
///
/// It takes memory as tokens come, 64 at a time. A [`fork`](Self::fork) shares what both have in
/// common.
///
/// ```
/// use bise_model::{Engine, EngineOptions, LogitRows, Model, Part};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/demo.gguf");
/// let mut engine = Engine::new(&Model::open(path.as_ref())?, EngineOptions::default());
/// let mut one = engine.sequence(512);
/// engine.forward(&mut [Part::new(&mut one, &[1, 40, 41], LogitRows::None)])?;
/// let mut other = one.fork();
/// // Both go on in one batch.
/// let mut batch = [
///     Part::new(&mut one, &[42], LogitRows::Last),
///     Part::new(&mut other, &[43, 44], LogitRows::Last),
/// ];
/// let logits = engine.forward(&mut batch)?;
/// assert_ne!(logits.of(0), logits.of(1));
/// assert_eq!((one.len(), other.len()), (4, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sequence {
    pub(crate) kv: KvCache,
    len: usize,
    max_tokens: usize,
}

impl Sequence {
    /// Tokens at the end that can be taken back whatever the window.
    pub const REWIND: usize = crate::cache::REWIND;

    /// An empty text of at most `max_tokens` tokens, whose pages come from `pool`.
    pub(crate) fn new(pool: Arc<PagePool>, max_tokens: usize) -> Self {
        Self {
            kv: KvCache::new(pool),
            len: 0,
            max_tokens,
        }
    }

    /// Tokens processed so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token has been processed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that fit in all; `None` when a sliding window in each layer lets any number through.
    pub fn capacity(&self) -> Option<usize> {
        let sees_all = self.shape().windows.iter().any(Option::is_none);
        sees_all.then_some(self.max_tokens)
    }

    /// Bytes that keys and values take, those that are shared with other sequences included.
    pub fn kv_bytes(&self) -> usize {
        self.kv.bytes()
    }

    /// Bytes of keys and values that `other` has too.
    pub fn bytes_shared_with(&self, other: &Self) -> usize {
        self.kv.bytes_shared_with(&other.kv)
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.kv.clear();
        self.len = 0;
    }

    /// Forgets all tokens but the first `len`. Returns false, and forgets nothing, when a sliding
    /// window has let go of what the next token would see: never for the last
    /// [`REWIND`](Self::REWIND) tokens.
    pub fn truncate(&mut self, len: usize) -> bool {
        let possible = len >= self.len || self.kv.holds(len);
        if possible && len < self.len {
            self.kv.truncate(len);
            self.len = len;
        }
        possible
    }

    /// Another sequence of the same tokens. Both have the same pages, until one writes to them.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            kv: self.kv.share(self.len),
            ..*self
        }
    }

    /// Another sequence of the first `len` tokens, as [`fork`](Self::fork) makes one; `None` where
    /// [`truncate`](Self::truncate) would return false, and for more tokens than there are.
    #[must_use]
    pub fn fork_at(&self, len: usize) -> Option<Self> {
        let possible = len == self.len || len < self.len && self.kv.holds(len);
        possible.then(|| Self {
            kv: self.kv.share(len),
            len,
            ..*self
        })
    }

    /// Writes the keys and values: [`saved_bytes`](Self::saved_bytes) bytes, the same on every
    /// machine.
    ///
    /// # Errors
    /// When `out` cannot be written, or a sliding window has let go of what would be needed.
    pub fn save(&self, out: &mut impl Write) -> io::Result<()> {
        let earliest = self.earliest().ok_or(io::ErrorKind::NotFound)?;
        self.kv.write(earliest, self.len, out)
    }

    /// Bytes that [`save`](Self::save) writes.
    pub fn saved_bytes(&self) -> u64 {
        let earliest = self.earliest().unwrap_or(0);
        self.kv.written_bytes(earliest, self.len).unwrap_or(u64::MAX)
    }

    /// The least number of tokens that the text can be [cut](Self::truncate) to without forgetting
    /// all: more than 0 when sliding windows have let go of its beginning. `None` when they have
    /// let go of what the next token would see.
    pub fn earliest(&self) -> Option<usize> {
        self.kv.earliest(self.len)
    }

    /// Reads what [`save`](Self::save) wrote of a sequence of `len` tokens that could be cut to
    /// [`earliest`](Self::earliest). It is empty when this fails.
    ///
    /// # Errors
    /// When `input` ends too soon or cannot be read, or there is no memory.
    pub fn restore(
        &mut self,
        earliest: usize,
        len: usize,
        input: &mut impl Read,
    ) -> io::Result<()> {
        self.len = 0;
        let read = self.kv.read(earliest, len, input);
        match &read {
            Ok(()) => self.len = len,
            Err(_) => self.kv.clear(),
        }
        read
    }

    pub(crate) fn shape(&self) -> &KvShape {
        self.kv.shape()
    }

    /// Lends the keys and values to a batch, until [`put_back`](Self::put_back).
    pub(crate) fn lend(&mut self) -> KvCache {
        let placeholder = self.kv.placeholder();
        std::mem::replace(&mut self.kv, placeholder)
    }

    /// Takes back what was lent, with `n` more tokens in it.
    pub(crate) fn put_back(&mut self, kv: KvCache, n: usize) {
        self.kv = kv;
        self.len += n;
        match n {
            0 => self.kv.truncate(self.len),
            _ => self.kv.trim(self.len),
        }
    }
}
