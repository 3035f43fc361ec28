//! Quantizing in parallel and writing in order.
//!
//! ```text
//! tensor: rows -> slabs of about a million values -> a batch of slabs at a time, on all threads
//!                                                      -> a channel -> one thread that writes
//! ```

use crate::error::QuantizeError;
use crate::progress::Progress;
use crate::weigh::{Job, SquaredError};
use bise_tensor::gguf::{GgufError, GgufWriter};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Values in a slab, if rows are no longer than that.
const SLAB: u64 = 1 << 20;
/// Batches that may wait for the writer.
const WAITING: usize = 2;

/// A batch of quantized slabs of one tensor.
struct Batch {
    tensor: String,
    slabs: Vec<Vec<u8>>,
}

pub(crate) fn pool(threads: Option<usize>) -> Result<ThreadPool, QuantizeError> {
    Ok(rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()?)
}

/// Quantizes each tensor to its type and writes it. Gives the tensors' errors.
pub(crate) fn run<'a, W: Write + Send>(
    pool: &ThreadPool,
    tensors: impl Iterator<Item = Job<'a>>,
    writer: GgufWriter<W>,
    progress: &dyn Progress,
) -> Result<Vec<SquaredError>, QuantizeError> {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(WAITING);
        let writing = scope.spawn(move || write(writer, &receive));
        let made = make(pool, tensors, &send, progress);
        drop(send);
        let written = writing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match made {
            Ok(errors) => written.map(|()| errors).map_err(QuantizeError::from),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::WriterGone) => Err(written.expect_err("the writer stops early on errors only").into()),
        }
    })
}

fn write<W: Write>(mut writer: GgufWriter<W>, batches: &Receiver<Batch>) -> Result<(), GgufError> {
    for batch in batches {
        for slab in &batch.slabs {
            writer.write_part(&batch.tensor, slab)?;
        }
    }
    writer.finish().map(drop)
}

/// Why no more batches are made.
enum Stop {
    Failed(QuantizeError),
    WriterGone,
}

fn make<'a>(
    pool: &ThreadPool,
    tensors: impl Iterator<Item = Job<'a>>,
    send: &SyncSender<Batch>,
    progress: &dyn Progress,
) -> Result<Vec<SquaredError>, Stop> {
    let mut errors = Vec::new();
    for job in tensors {
        let tensor = job.tensor;
        let mut error = SquaredError::default();
        let (rows, step) = (tensor.rows(), (SLAB / tensor.columns()).max(1));
        let row_len = tensor.source_len() / rows;
        let batch = step * 2 * pool.current_num_threads() as u64;
        for start in (0..rows).step_by(batch as usize) {
            if progress.wants_stop() {
                return Err(Stop::Failed(QuantizeError::Stopped));
            }
            let end = (start + batch).min(rows);
            let slabs = pool.install(|| {
                let starts: Vec<u64> = (start..end).step_by(step as usize).collect();
                let slabs = starts.into_par_iter();
                slabs
                    .map(|first| job.quantize(first..(first + step).min(end)))
                    .collect::<Vec<_>>()
            });
            let slabs = slabs.into_iter().map(|slab| {
                let (slab, its_error) = slab.map_err(Stop::Failed)?;
                error += its_error;
                Ok(slab)
            });
            let slabs = slabs.collect::<Result<_, _>>()?;
            send.send(Batch {
                tensor: tensor.name.clone(),
                slabs,
            })
            .map_err(|_| Stop::WriterGone)?;
            progress.advance((end - start) * row_len);
        }
        errors.push(error);
    }
    Ok(errors)
}
