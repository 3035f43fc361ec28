//! One slab: rows of the source as blocks of the output, a few at a time.

use crate::choose::weigh::{Job, SquaredError, weights};
use crate::error::QuantizeError;
use crate::write::plan::Slab;
use crate::write::source::StackedTensor;
use bise_kernels::block::DType;
use std::ops::Range;

/// Values that are turned into floats at a time, if rows are no longer than that: they stay in a
/// core's cache.
const CHUNK: u64 = 1 << 13;

/// Some rows of `tensor` as they are, but for the order of bytes, in `out`.
pub(crate) fn copy(tensor: &StackedTensor, slab: &Slab, out: &mut Vec<u8>) {
    out.clear();
    slab.rows.clone().for_each(|row| tensor.copy_row(row, out));
}

/// Some rows of a tensor as blocks, in `out`, which is as long as they are. Gives their error.
pub(crate) fn make(
    job: &Job<'_>,
    rows: &Range<u64>,
    out: &mut [u8],
) -> Result<SquaredError, QuantizeError> {
    let columns = job.tensor.columns();
    let row_len = out.len() / (rows.end - rows.start) as usize;
    let step = (CHUNK / columns).max(1);
    let mut x = vec![0f32; (step * columns) as usize];
    let mut error = SquaredError::default();
    let firsts = rows.clone().step_by(step as usize);
    for (first, out) in firsts.zip(out.chunks_mut(step as usize * row_len)) {
        let rows = first..(first + step).min(rows.end);
        let x = &mut x[..((rows.end - first) * columns) as usize];
        job.tensor.read_rows(rows.clone(), x);
        check_values(job.tensor, job.dtype, rows.clone(), x)?;
        let importance = job.importance_of(rows);
        let weights = importance.as_deref().map(|h| weights(x, h, columns as usize));
        job.dtype.quantize(x, weights.as_deref(), out);
        if job.measure {
            let mut y = vec![0f32; x.len()];
            job.dtype.dequantize(out, &mut y);
            error += SquaredError::between(x, &y, importance.as_deref());
        }
    }
    Ok(error)
}

/// The largest value that a tensor of this type may have: f16's, but for types without scales that
/// hold more.
fn largest(dtype: DType) -> f32 {
    const F16_MAX: f32 = 65504.0;
    let (mut stored, mut read) = (vec![0; dtype.block_bytes()], [0f32]);
    if dtype.is_quantized() {
        return F16_MAX;
    }
    dtype.quantize(&[2.0 * F16_MAX], None, &mut stored);
    dtype.dequantize(&stored, &mut read);
    if read[0].is_finite() { f32::MAX } else { F16_MAX }
}

/// Values must be numbers, and those beyond f16 would become infinite in F16, and as scales in
/// quantized blocks.
fn check_values(
    tensor: &StackedTensor,
    dtype: DType,
    rows: Range<u64>,
    x: &[f32],
) -> Result<(), QuantizeError> {
    let largest = largest(dtype);
    // Without the sign, floats are ordered as their bits are, and what is no number comes last.
    let magnitude = |v: &f32| (v.to_bits() & i32::MAX as u32) as i32;
    let most = x.iter().fold(0, |most, v| most.max(magnitude(v)));
    if most <= largest.to_bits() as i32 {
        return Ok(());
    }
    let bad = |v: &f32| v.is_nan() || v.abs() > largest;
    let at = x.iter().position(bad).expect("the largest is too large");
    let columns = tensor.columns();
    let (part, row) = tensor.locate(rows.start + at as u64 / columns);
    let row = part.tensor.source_row(row) as u64;
    let (tensor, column, value) = (part.name.clone(), at as u64 % columns, x[at]);
    Err(if value.is_finite() {
        QuantizeError::TooLarge {
            tensor,
            row,
            column,
            value,
            dtype,
        }
    } else {
        QuantizeError::NotFinite {
            tensor,
            row,
            column,
            value,
        }
    })
}
