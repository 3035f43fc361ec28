//! Sizes that a header gives, proven sound before they are used.

use super::error::{GgufError, Place};
use super::limits::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_ALIGNMENT, MAX_DIMS};
use super::value::Metadata;
use bise_kernels::block::DType;

/// The alignment that `metadata` sets, a power of two from 8 to [`MAX_ALIGNMENT`].
pub(super) fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let alignment = metadata.u64(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&alignment) {
        Ok(alignment)
    } else {
        Err(GgufError::OutOfRange {
            key: ALIGNMENT_KEY.to_owned(),
            expected: "a power of two from 8 to 1048576",
            found: alignment.to_string(),
        })
    }
}

/// Bytes of a tensor of these dimensions, which are proven sound: 1 to 4, none zero, whole blocks,
/// no overflow.
pub(super) fn tensor_len(
    name: &str,
    dims: &[u64],
    dtype: DType,
    offset: u64,
) -> Result<u64, GgufError> {
    let place = || Place::Tensor(name.to_owned());
    let invalid = |what, found: String, expected: &str| GgufError::Invalid {
        place: place(),
        what,
        offset,
        found: found.into(),
        expected: expected.into(),
    };
    if !(1..=MAX_DIMS).contains(&dims.len()) {
        return Err(invalid(
            "the number of dimensions",
            dims.len().to_string(),
            "1 to 4",
        ));
    }
    if dims.contains(&0) {
        return Err(invalid("the shape", format!("{dims:?}"), "dimensions above 0"));
    }
    let elements = dims
        .iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d))
        .filter(|&n| i64::try_from(n).is_ok());
    let Some(elements) = elements else {
        return Err(invalid(
            "the shape",
            format!("{dims:?}"),
            "fewer than 2^63 values",
        ));
    };
    if !dims[0].is_multiple_of(dtype.block_len() as u64) {
        return Err(GgufError::PartialBlock {
            place: place(),
            columns: dims[0],
            dtype,
        });
    }
    dtype
        .bytes_for(elements)
        .filter(|&n| i64::try_from(n).is_ok())
        .ok_or_else(|| invalid("the shape", format!("{dims:?}"), "fewer than 2^63 bytes"))
}
