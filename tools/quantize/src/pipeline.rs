//! Quantizing in parallel and writing in order.
//!
//! ```text
//! tensor: rows -> slabs of about a million values -> a batch of slabs at a time, on all threads
//!                                                      -> a channel -> one thread that writes
//! ```

use crate::error::QuantizeError;
use crate::progress::Progress;
use crate::source::Tensor;
use bise_tensor::block::DType;
use bise_tensor::gguf::{GgufError, GgufWriter};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::io::Write;
use std::ops::Range;
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

/// Quantizes each tensor to its type and writes it.
pub(crate) fn run<'a, W: Write + Send>(
    pool: &ThreadPool,
    tensors: impl Iterator<Item = (&'a Tensor, DType)>,
    writer: GgufWriter<W>,
    progress: &dyn Progress,
) -> Result<(), QuantizeError> {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(WAITING);
        let writing = scope.spawn(move || write(writer, &receive));
        let made = make(pool, tensors, &send, progress);
        drop(send);
        let written = writing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match made {
            Ok(()) => Ok(written?),
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
    tensors: impl Iterator<Item = (&'a Tensor, DType)>,
    send: &SyncSender<Batch>,
    progress: &dyn Progress,
) -> Result<(), Stop> {
    for (tensor, dtype) in tensors {
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
                    .map(|first| slab(tensor, dtype, first..(first + step).min(end)))
                    .collect::<Vec<_>>()
            });
            let slabs = slabs
                .into_iter()
                .collect::<Result<_, _>>()
                .map_err(Stop::Failed)?;
            send.send(Batch {
                tensor: tensor.name.clone(),
                slabs,
            })
            .map_err(|_| Stop::WriterGone)?;
            progress.advance((end - start) * row_len);
        }
    }
    Ok(())
}

/// Some rows of `tensor` as blocks of `dtype`.
fn slab(tensor: &Tensor, dtype: DType, rows: Range<u64>) -> Result<Vec<u8>, QuantizeError> {
    let columns = tensor.columns() as usize;
    let values = (rows.end - rows.start) * columns as u64;
    let len = dtype.bytes_for(values).expect("rows are whole blocks") as usize;
    if tensor.is_verbatim(dtype) {
        let mut out = Vec::with_capacity(len);
        rows.for_each(|row| tensor.copy_row(row, &mut out));
        return Ok(out);
    }
    let mut x = vec![0f32; values as usize];
    for (row, x) in rows.zip(x.chunks_exact_mut(columns)) {
        tensor.read_row(row, x)?;
        check_range(tensor, dtype, row, x)?;
    }
    let mut out = vec![0; len];
    dtype.quantize(&x, None, &mut out);
    Ok(out)
}

/// Values beyond f16 would become infinite in F16, and as scales in quantized blocks.
fn check_range(tensor: &Tensor, dtype: DType, row: u64, x: &[f32]) -> Result<(), QuantizeError> {
    const LARGEST: f32 = 65504.0;
    if matches!(dtype, DType::F32 | DType::Bf16) {
        return Ok(());
    }
    match x.iter().position(|v| v.abs() > LARGEST) {
        None => Ok(()),
        Some(column) => {
            let (part, within) = tensor.locate(row);
            Err(QuantizeError::TooLarge {
                tensor: part.name.clone(),
                row: part.tensor.source_row(within) as u64,
                column: column as u64,
                value: x[column],
                dtype,
            })
        }
    }
}
