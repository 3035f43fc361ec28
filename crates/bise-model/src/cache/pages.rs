//! Pages of keys and values, taken as tokens come, shared, and used again.

use super::shape::KvShape;
use bise_kernels::mmap::{Buffer, BufferPart};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys and values of 64 positions of a layer: `[kv_head][chunk]`. Positions that no token of the
/// text has hold anything.
pub(crate) struct Page {
    pub bytes: BufferPart,
    /// How many pages there are; this one is counted.
    count: Arc<AtomicU64>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of memory that is asked of the system at a time, for as many pages as fit: those of a huge
/// page, in which a token's attention finds its way faster.
const SLAB: usize = 2 << 20;

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
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.is_empty() {
            self.more(&mut free)?;
        }
        free.pop().ok_or(NoPage)
    }

    /// Asks for more pages, one or as many as a slab has.
    fn more(&self, free: &mut Vec<Arc<Page>>) -> Result<(), NoPage> {
        let len = self.shape.page_bytes();
        let left = self.most - self.count.load(Ordering::Relaxed);
        let pages = ((SLAB / len.max(1)) as u64).max(1).min(left) as usize;
        if pages == 0 {
            return Err(NoPage);
        }
        let slab = Buffer::zeroed(pages * len).map_err(|_| NoPage)?;
        free.extend(slab.cut(len).map(|bytes| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Arc::new(Page {
                bytes,
                count: self.count.clone(),
            })
        }));
        Ok(())
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
