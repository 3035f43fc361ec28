//! How much a model suffers from each type of each tensor, estimated from a sample of rows.
//!
//! A matrix stored with errors `e` adds noise to its outputs, which is in relation to the outputs themselves
//!
//! ```text
//! noise = sum over rows, j of h[j] e[j]^2 / sum over rows, j of h[j] w[j]^2       h[j]: the mean of x[j]^2
//! ```
//!
//! Small noises of different matrices add up in the logits, each by a factor of its own, which is measured for
//! each role; `h` is the importance matrix, or 1 without one.

use crate::budget::Plan;
use crate::error::QuantizeError;
use crate::progress::Progress;
use crate::role::{Kind, Role};
use crate::slab;
use crate::source::Tensor;
use crate::weigh::{Job, SquaredError, Weighing};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Values of a tensor that are quantized to see how large the error is, at least a row.
const SAMPLE: u64 = 1 << 17;

/// The factors of roles.
fn factor(kind: Kind) -> f64 {
    match kind {
        Kind::Vector | Kind::Router | Kind::OtherMatrix => 1.0,
        Kind::Embedding => 1.0,
        Kind::Output => 1.0,
        Kind::AttentionQ => 1.0,
        Kind::AttentionK => 1.0,
        Kind::AttentionV => 1.0,
        Kind::AttentionOutput => 1.0,
        Kind::FfnGate => 1.0,
        Kind::FfnUp => 1.0,
        Kind::FfnDown => 1.0,
    }
}

/// The estimated harm of each candidate type of each tensor.
///
/// # Errors
/// When a row cannot be read, or the user stops.
pub(crate) fn measure(
    pool: &ThreadPool,
    tensors: &[Tensor],
    plan: &Plan,
    weighing: &Weighing,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>, QuantizeError> {
    let mut errors = Vec::with_capacity(tensors.len());
    for (i, (tensor, types)) in tensors.iter().zip(&plan.candidates).enumerate() {
        if progress.wants_stop() {
            return Err(QuantizeError::Stopped);
        }
        // A single type is no choice.
        if types.len() == 1 {
            errors.push(vec![0.0]);
            continue;
        }
        let factor = factor(Role::of(&tensor.name, &tensor.dims).kind);
        let noise = |&dtype| {
            let job = Job {
                tensor,
                dtype,
                importance: weighing.importance(i),
                measure: true,
            };
            Ok(factor * sample(&job)?.relative())
        };
        let noises = pool.install(|| types.par_iter().map(noise).collect::<Result<_, QuantizeError>>());
        errors.push(noises?);
    }
    Ok(errors)
}

/// The error of rows spread evenly over the tensor.
fn sample(job: &Job<'_>) -> Result<SquaredError, QuantizeError> {
    let rows = job.tensor.rows();
    let count = (SAMPLE / job.tensor.columns()).clamp(1, rows);
    let mut sum = SquaredError::default();
    if job.tensor.is_verbatim(job.dtype) {
        return Ok(sum);
    }
    let len = job.dtype.bytes_for(job.tensor.columns());
    let mut blocks = vec![0; len.expect("rows are whole blocks") as usize];
    for i in 0..count {
        let row = (u128::from(i) * u128::from(rows) / u128::from(count)) as u64;
        sum += slab::make(job, &(row..row + 1), &mut blocks)?;
    }
    Ok(sum)
}
