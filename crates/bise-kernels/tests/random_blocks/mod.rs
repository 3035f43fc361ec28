//! Blocks of any type, for those that cannot be quantized to.

use bise_kernels::block::DType;

/// `count` blocks of random bits whose values are finite, none of them above 4 and not all below
/// 1/1000.
pub fn random_blocks(dtype: DType, count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as u8
    };
    let mut blocks = Vec::new();
    let mut values = vec![0.0; dtype.block_len()];
    while blocks.len() < count * dtype.block_bytes() {
        let block: Vec<u8> = (0..dtype.block_bytes()).map(|_| byte()).collect();
        dtype.dequantize(&block, &mut values);
        let most = values
            .iter()
            .fold(0f32, |m, v| if v.abs() > m || v.is_nan() { v.abs() } else { m });
        if (1e-3..=4.0).contains(&most) {
            blocks.extend(block);
        }
    }
    blocks
}
