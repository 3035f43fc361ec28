//! How much a model suffers from each type of each tensor, estimated from a sample of rows.
//!
//! A matrix stored with errors `e` adds noise to its outputs, which is in relation to the outputs
//! themselves
//!
//! ```text
//! noise = sum over rows, j of h[j] e[j]^2 / sum over rows, j of h[j] w[j]^2       h[j]: the mean of x[j]^2
//! ```
//!
//! Small noises of different matrices add up in the logits, each by a factor that was measured for
//! its role: a noise in the output matrix harms most, one in Q and K least; `h` is the importance
//! matrix, or 1 without one.

use crate::choose::budget::Plan;
use crate::choose::role::{Kind, Role};
use crate::choose::weigh::{ErrorWeights, Job, SquaredError};
use crate::error::QuantizeError;
use crate::progress::Progress;
use crate::write::slab;
use crate::write::source::StackedTensor;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Values of a tensor that are quantized to see how large the error is, at least a row.
const SAMPLE: u64 = 1 << 17;

/// The factor of a role's matrices in all layers together: the KL divergence in nats for a noise of
/// 1 in each, as `tools/fixtures/sensitivity.py` measures it on the tiny Mistral. A layer adds its
/// share to what is there, so that each of `layers` has that part of the factor.
fn factor(kind: Kind, layers: u64) -> f64 {
    let (whole, per_layer) = match kind {
        Kind::Output => (0.082, 0.0),
        Kind::Embedding => (0.0070, 0.0),
        Kind::AttentionQ | Kind::AttentionK => (0.0, 0.0016),
        Kind::AttentionV => (0.0, 0.0056),
        Kind::AttentionOutput => (0.0, 0.0048),
        Kind::FfnGate => (0.0, 0.0064),
        Kind::FfnUp => (0.0, 0.0052),
        Kind::FfnDown => (0.0, 0.0208),
        Kind::Vector | Kind::Router | Kind::OtherMatrix => (0.0, 0.0052),
    };
    whole + per_layer / layers.max(1) as f64
}

/// The estimated harm of each candidate type of each tensor.
///
/// # Errors
/// When a row cannot be read, or the user stops.
pub(crate) fn measure(
    pool: &ThreadPool,
    tensors: &[StackedTensor],
    plan: &Plan,
    weighing: &ErrorWeights,
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
        let factor = factor(Role::of(&tensor.name, &tensor.dims).kind, plan.layers);
        let noise = |&dtype| {
            let job = Job {
                tensor,
                dtype,
                importance: weighing.importance(i),
                measure: true,
            };
            Ok(factor * sample(&job)?.relative())
        };
        let noises =
            pool.install(|| types.par_iter().map(noise).collect::<Result<_, QuantizeError>>());
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
