//! The types that can be written.

use bise_kernels::block::DType;

/// The types that can be written, from the largest to the smallest, with the bits that a weight
/// takes.
pub fn dtypes() -> Vec<(DType, f64)> {
    let written = DType::ALL.iter().filter(|dtype| dtype.can_quantize());
    let bits = |dtype: &DType| 8.0 * dtype.block_bytes() as f64 / dtype.block_len() as f64;
    let mut types: Vec<_> = written.map(|dtype| (*dtype, bits(dtype))).collect();
    types.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    types
}

/// The names of the types that can be written.
pub(crate) fn names() -> String {
    let names: Vec<_> = dtypes().iter().map(|(dtype, _)| dtype.name()).collect();
    names.join(", ")
}
