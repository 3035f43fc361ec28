//! Pages of keys and values, taken as tokens come, shared, and used again.

use super::shape::KvShape;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys and values of 64 positions of a layer: `[kv_head][chunk]`. Positions that no token of the
/// text has hold anything.
pub(crate) struct Page {
    pub bytes: Box<[u8]>,
    /// How many pages there are; this one is counted.
    count: Arc<AtomicU64>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// There is no memory for one more page.
#[derive(Debug)]
pub(crate) struct NoPage;

/// Where pages come from, and go when no sequence has them any more.
pub(crate) struct PagePool {
    pub shape: KvShape,
    /// Pages that there may be.
    most: u64,
    count: Arc<AtomicU64>,
    free: Mutex<Vec<Arc<Page>>>,
}

impl PagePool {
    /// A pool of pages of at most `bytes` bytes together.
    pub fn new(shape: KvShape, bytes: u64) -> Self {
        Self {
            most: bytes / (shape.page_bytes() as u64).max(1),
            shape,
            count: Arc::default(),
            free: Mutex::default(),
        }
    }

    /// A page that nobody else has.
    pub fn take(&self) -> Result<Arc<Page>, NoPage> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(page) = free {
            return Ok(page);
        }
        let one_more = |count: u64| (count < self.most).then_some(count + 1);
        self.count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_| NoPage)?;
        let mut page = Page {
            bytes: Box::default(),
            count: self.count.clone(),
        };
        let (mut bytes, len) = (Vec::new(), self.shape.page_bytes());
        bytes.try_reserve_exact(len).map_err(|_| NoPage)?;
        bytes.resize(len, 0);
        page.bytes = bytes.into_boxed_slice();
        Ok(Arc::new(page))
    }

    /// Takes a page back, unless another sequence has it too.
    pub fn give(&self, mut page: Arc<Page>) {
        if Arc::get_mut(&mut page).is_some() {
            self.free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(page);
        }
    }

    /// Pages that can still be taken.
    pub fn available(&self) -> u64 {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        self.most - self.count.load(Ordering::Relaxed) + free
    }

    /// Pages that sequences have.
    pub fn taken(&self) -> u64 {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        self.count.load(Ordering::Relaxed) - free
    }
}
