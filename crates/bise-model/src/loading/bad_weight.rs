//! Weights that are no numbers.

use crate::error::BadWeight;
use bise_format::TensorName;
use bise_format::checkpoint::Checkpoint;
use bise_kernels::tensor::Tensor;

/// The first infinite or NaN weight of rows of `tensor`, which is called `name`.
pub(crate) fn find_bad_weight(
    name: TensorName,
    tensor: &Tensor,
    rows: impl IntoIterator<Item = usize>,
) -> Option<BadWeight> {
    let mut values = vec![0.0; tensor.cols()];
    rows.into_iter().find_map(|row| {
        tensor.read_row(row, &mut values);
        let column = values.iter().position(|v| !v.is_finite())?;
        Some(BadWeight {
            tensor: name.to_string(),
            row,
            column,
            block: column / tensor.dtype().block_len(),
            value: values[column],
        })
    })
}

/// The first of the whole tensor called `name`, if there is such a tensor.
pub(crate) fn find_in_tensor(checkpoint: &Checkpoint, name: TensorName) -> Option<BadWeight> {
    let tensor = checkpoint.tensor(name)?;
    find_bad_weight(name, tensor, 0..tensor.rows())
}
