//! Quantizing in parallel and writing in order, one pass over the source.
//!
//! ```text
//! matrices -> slabs of about half a million values -> workers, each a slab at a time, no more than a window ahead
//!                  -> in order again: one thread that hashes -> one that writes, and one that syncs behind it
//! ```
//!
//! A matrix is a tensor, or one expert of a stacked one. Memory is the window: a few slabs for each
//! worker.

use crate::error::QuantizeError;
use crate::integrity::digest::Digest;
use crate::progress::Progress;
use crate::write::journal::{Hashes, Journal};
use crate::write::plan::{Plan, Slab};
use crate::write::queue::Queue;
use crate::write::source::StackedTensor;
use rayon::ThreadPool;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Hashed slabs that may wait for the writer.
const WAITING: usize = 2;
/// Bytes between two calls to the system to get what is written to the disk.
const SYNC: u64 = 256 << 20;

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

/// Makes the slabs that are not there yet, which `make` counts from 0, and writes them. Gives the
/// hashes of all.
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
