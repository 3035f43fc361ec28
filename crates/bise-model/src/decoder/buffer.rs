//! Buffers that grow to what the largest batch needs.

/// The first `len` values of `buffer`, which grows when it is shorter. They hold anything.
pub(crate) fn first(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
