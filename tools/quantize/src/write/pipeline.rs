//! Quantizing in parallel and writing in order, one pass over the source.
//!
//! ```text
//! matrices -> slabs of about half a million values -> workers, each a slab at a time, no more than a window ahead
//!                  -> in order again: one thread that hashes -> one that writes, and one that syncs behind it
//! ```
//!
//! A matrix is a tensor, or one expert of a stacked one. Memory is the window: a few slabs for each worker.

use crate::error::QuantizeError;
use crate::integrity::seal::Digest;
use crate::progress::Progress;
use crate::write::journal::{Hashes, Journal};
use crate::write::queue::Queue;
use crate::write::source::StackedTensor;
use bise_format::gguf::Layout;
use rayon::ThreadPool;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Values in a slab, if rows are no longer than that.
const SLAB: u64 = 1 << 19;
/// Hashed slabs that may wait for the writer.
const WAITING: usize = 2;
/// Bytes between two calls to the system to get what is written to the disk.
const SYNC: u64 = 256 << 20;

/// Some rows of a tensor: what is made, hashed, written and recorded at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slab {
    /// Which tensor.
    pub tensor: usize,
    pub rows: Range<u64>,
    /// Where in the file.
    pub offset: u64,
    /// In the file.
    pub len: usize,
    /// Whether it is its matrix's last.
    pub ends_matrix: bool,
}

/// All slabs of a file, in its order.
#[derive(Debug)]
pub(crate) struct Plan {
    pub slabs: Vec<Slab>,
}

impl Plan {
    pub(crate) fn new(layout: &Layout) -> Self {
        let mut slabs = Vec::new();
        for (tensor, info) in layout.tensors().values().enumerate() {
            let columns = info.dims[0];
            let rows = info.dims.get(1).copied().unwrap_or(1);
            let step = (SLAB / columns).max(1);
            let row_len = info.dtype.bytes_for(columns).expect("rows are whole blocks");
            let all: u64 = info.dims[1..].iter().product();
            for matrix in (0..all).step_by(rows as usize) {
                let end = matrix + rows;
                slabs.extend((matrix..end).step_by(step as usize).map(|first| {
                    let rows = first..(first + step).min(end);
                    Slab {
                        tensor,
                        offset: layout.data_offset() + info.offset + first * row_len,
                        len: ((rows.end - first) * row_len) as usize,
                        ends_matrix: rows.end == end,
                        rows,
                    }
                }));
            }
        }
        Self { slabs }
    }
}

pub(crate) fn pool(threads: Option<usize>) -> Result<ThreadPool, QuantizeError> {
    Ok(rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()?)
}

/// Where slabs go.
pub(crate) struct Output<'a> {
    pub part: &'a File,
    pub journal: Journal<'a>,
    /// Of the slabs that are there.
    pub hashes: Hashes,
    /// How many of them there are.
    pub done: usize,
}

/// Makes the slabs that are not there yet, which `make` counts from 0, and writes them. Gives the hashes of all.
pub(crate) fn run(
    pool: &ThreadPool,
    (tensors, plan): (&[StackedTensor], &Plan),
    make: impl Fn(usize, &mut Vec<u8>) -> Result<(), QuantizeError> + Sync,
    output: Output<'_>,
    progress: &dyn Progress,
) -> Result<Hashes, QuantizeError> {
    let Output {
        part,
        journal,
        mut hashes,
        done,
    } = output;
    let slabs = &plan.slabs[done..];
    let queue = Queue::new(slabs.len(), 2 * pool.current_num_threads() + 2);
    std::thread::scope(|scope| {
        // Whatever ends this function early ends the others.
        let _stop = queue.stop_on_drop();
        scope.spawn(|| pool.broadcast(|_| queue.work(&make)));
        let (send, receive) = sync_channel(WAITING);
        let hashing = scope.spawn(|| {
            let send = send;
            for slab in slabs {
                let Some(made) = queue.take() else { break };
                let hashed = made.map(|bytes| (hashes.push(&bytes, slab.ends_matrix), bytes));
                if send.send(hashed).is_err() {
                    break;
                }
            }
            hashes
        });
        let (ask, asked) = sync_channel(1);
        let syncing = scope.spawn(move || sync(part, &asked));
        let mut writer = Writer {
            part,
            journal,
            ask,
            unasked: 0,
        };
        for slab in slabs {
            if progress.wants_stop() {
                return Err(QuantizeError::Stopped);
            }
            let Ok(hashed) = receive.recv() else { break };
            let (digest, bytes) = hashed?;
            writer.write(slab, &digest, &bytes)?;
            queue.give_back(bytes);
            let tensor = &tensors[slab.tensor];
            if slab.ends_matrix {
                tensor.release(slab.rows.end - 1);
            }
            progress.advance(tensor.source_len_of(&slab.rows));
        }
        drop(writer);
        join(syncing)?;
        Ok(join(hashing))
    })
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes slabs, and asks for the disk to take them.
struct Writer<'a> {
    part: &'a File,
    journal: Journal<'a>,
    ask: SyncSender<()>,
    /// Bytes since the last time.
    unasked: u64,
}

impl Writer<'_> {
    fn write(&mut self, slab: &Slab, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        self.part.seek(SeekFrom::Start(slab.offset))?;
        self.part.write_all(bytes)?;
        self.journal.record(digest)?;
        self.unasked += slab.len as u64;
        if self.unasked >= SYNC {
            // One that is still busy is enough.
            let _ = self.ask.try_send(());
            self.unasked = 0;
        }
        Ok(())
    }
}

/// Gets the file to the disk whenever asked, so that little is left to do at the end.
fn sync(part: &File, asked: &Receiver<()>) -> io::Result<()> {
    asked.iter().try_for_each(|()| part.sync_data())
}
