//! What is no number, or infinite, is never passed over: every result that it has a part in is NaN,
//! or not finite.

mod random_blocks;

use bise_kernels::block::DType;
use bise_kernels::isa::Level;
use bise_kernels::matmul::{Activations, Weights, matmul};
use bise_kernels::mmap::FileBytes;
use bise_kernels::ops::{
    Attention, AttentionWorkspace, CHUNK, KeyValues, KvType, attend, rms_norm, store,
};
use bise_kernels::tensor::Tensor;
use random_blocks::random_blocks;
use std::ops::Range;

const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Some numbers between -1 and 1.
fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * i + 7 * i) % 61) as f32 / 30.0 - 1.0)
        .collect()
}

/// The bits of numbers; NaN is NaN, whichever.
fn bits(x: &[f32]) -> Vec<u32> {
    let one = |x: &f32| if x.is_nan() { f32::NAN } else { *x };
    x.iter().map(|x| one(x).to_bits()).collect()
}

/// Weights of `rows` rows of `cols` values that are finite and not zero.
fn weights(dtype: DType, rows: usize, cols: usize) -> Weights {
    let blocks = if dtype.can_quantize() {
        let mut blocks = vec![0; dtype.bytes_for((rows * cols) as u64).unwrap() as usize];
        let x: Vec<f32> = values(rows * cols).iter().map(|v| v + 1.5).collect();
        dtype.quantize(&x, None, &mut blocks);
        blocks
    } else {
        random_blocks(dtype, rows * cols / dtype.block_len(), 3)
    };
    Weights::new(&Tensor::from_bytes(dtype, &[rows, cols], FileBytes::from_vec(blocks)).unwrap())
        .unwrap()
}

fn product(level: Level, w: &Weights, x: &[f32]) -> Vec<f32> {
    let mut activations = Activations::with_capacity(level, x.len() / w.cols(), w.cols());
    activations.set(x, w.cols());
    let mut out = vec![0.0; activations.len() * w.rows()];
    matmul(w, &mut activations, &mut out);
    out
}

/// One bad value among the inputs of one token spoils all its outputs and no others, at every
/// level, alone and among many.
#[test]
fn a_bad_input_spoils_every_product() {
    const ROWS: usize = 18;
    for &dtype in DType::ALL {
        let cols = 512.max(dtype.block_len());
        let w = weights(dtype, ROWS, cols);
        for batch in [1, 3, 70] {
            let good = values(batch * cols);
            let expected = bits(&product(Level::SCALAR, &w, &good));
            let token = batch / 2;
            for (n, at) in [0, 31, 32, cols - 1].into_iter().enumerate() {
                let mut x = good.clone();
                x[token * cols + at] = BAD[n % 3];
                for level in Level::available() {
                    let out = product(level, &w, &x);
                    let (from, to) = (token * ROWS, (token + 1) * ROWS);
                    let spoilt = out[from..to].iter().all(|y| !y.is_finite());
                    assert!(spoilt, "{dtype}, {batch} tokens, {level}, {} at {at}", BAD[n % 3]);
                    let out = bits(&out);
                    assert!(
                        out[..from] == expected[..from] && out[to..] == expected[to..],
                        "{dtype} {level}"
                    );
                }
            }
        }
    }
}

/// A group of numbers so small that their scale has no inverse counts as zeros, and is no infinity.
#[test]
fn tiny_inputs_are_numbers() {
    for &dtype in DType::ALL {
        let cols = 256.max(dtype.block_len());
        let w = weights(dtype, 17, cols);
        for tiny in [f32::from_bits(1), f32::MIN_POSITIVE, 3e-37] {
            let x: Vec<f32> = values(cols).iter().map(|v| v * tiny).collect();
            let expected = product(Level::SCALAR, &w, &x);
            assert!(expected.iter().all(|y| y.abs() < 1e-30), "{dtype}: {expected:?}");
            for level in Level::available() {
                assert_eq!(bits(&product(level, &w, &x)), bits(&expected), "{dtype} {level}");
            }
        }
    }
}

/// The scales of weights are looked at when they are laid out.
#[test]
fn laying_out_finds_bad_scales() {
    let types = DType::ALL.iter().filter(|t| t.is_quantized() && t.can_quantize());
    for &dtype in types {
        let (rows, cols) = (35, 2 * dtype.block_len());
        let mut blocks = vec![0; dtype.bytes_for((rows * cols) as u64).unwrap() as usize];
        dtype.quantize(&values(rows * cols), None, &mut blocks);
        let finite = |blocks: &[u8]| {
            let bytes = FileBytes::from_vec(blocks.to_vec());
            let tensor = Tensor::from_bytes(dtype, &[rows, cols], bytes).unwrap();
            Weights::new(&tensor).unwrap().is_finite()
        };
        assert!(finite(&blocks), "{dtype}");
        // The two bytes of a block that make it bad are those of a scale.
        let (block, last) = (dtype.block_bytes(), blocks.len() - dtype.block_bytes());
        let mut found = 0;
        for at in 0..block - 1 {
            for half in [0x7e00u16, 0x7c00, 0xfc00] {
                let mut bad = blocks.clone();
                bad[last + at..][..2].copy_from_slice(&half.to_le_bytes());
                let mut x = vec![0.0; dtype.block_len()];
                dtype.dequantize(&bad[last..], &mut x);
                let good = x.iter().all(|v| v.is_finite());
                assert!(good || !finite(&bad), "{dtype}: {half:x} at byte {at}");
                found += usize::from(!good);
            }
        }
        assert!(found >= 3, "{dtype}");
    }
}

/// Tokens that attend to all before them, two query heads to a key head.
struct Case {
    dim: usize,
    tokens: usize,
    /// `[tokens][dim]`
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// The chunks of one key head, for rows of which the first is at position `first`.
struct Cache<'a> {
    bytes: &'a [u8],
    chunk_bytes: usize,
    first: usize,
}

impl KeyValues for Cache<'_> {
    fn visible(&self, row: usize) -> Range<usize> {
        0..self.first + row + 1
    }

    fn chunk(&self, _: usize, _: usize, c: usize) -> &[u8] {
        &self.bytes[c * self.chunk_bytes..][..self.chunk_bytes]
    }
}

impl Case {
    fn new(dim: usize, tokens: usize) -> Self {
        let (keys, values) = (values(tokens * dim), values(tokens * dim));
        Self {
            dim,
            tokens,
            keys,
            values,
        }
    }

    /// `[tokens][2][dim]`, so many tokens at a time.
    fn run(&self, level: Level, kind: KvType, step: usize) -> Vec<f32> {
        let (dim, bytes) = (self.dim, kind.chunk_bytes(self.dim));
        let chunks = self.tokens.div_ceil(CHUNK);
        let mut cache = vec![0u8; chunks * bytes];
        for (j, (key, value)) in self.keys.chunks(dim).zip(self.values.chunks(dim)).enumerate() {
            let chunk = &mut cache[j / CHUNK * bytes..][..bytes];
            store(level, kind, j % CHUNK, [key, value], chunk);
        }
        let queries = values(self.tokens * 2 * dim);
        let mut workspace = AttentionWorkspace::default();
        let mut out = vec![0.0; queries.len()];
        for (i, out) in out.chunks_mut(step * 2 * dim).enumerate() {
            let all = 0..out.len() / (2 * dim);
            let attention = Attention {
                queries: &queries[i * step * 2 * dim..][..out.len()],
                parts: std::slice::from_ref(&all),
                kv: &Cache {
                    bytes: &cache,
                    chunk_bytes: bytes,
                    first: i * step,
                },
                scale: 0.1,
                heads: 2,
                kv_heads: 1,
                head_dim: dim,
            };
            attend(level, kind, &attention, &mut workspace, out);
        }
        out
    }
}

/// A key or a value that is no number, or that the cache cannot hold, spoils what all tokens from
/// its own on find.
#[test]
fn a_bad_key_or_value_spoils_all_that_see_it() {
    let (dim, tokens) = (40, 600);
    for kind in [KvType::F16, KvType::F32, KvType::Q8_0] {
        // 1e30 overflows what is stored, or the scale of a block.
        let beyond: &[f32] = if kind == KvType::F32 { &[] } else { &[1e30, -1e30] };
        for (n, &bad) in BAD.iter().chain(beyond).enumerate() {
            for (position, key) in [(0, true), (70, false), (520, true), (520, false)] {
                let good = Case::new(dim, tokens);
                let mut case = Case::new(dim, tokens);
                let row = if key { &mut case.keys } else { &mut case.values };
                row[position * dim + (n * 13) % dim] = bad;
                for step in [1, 50, tokens] {
                    let level = Level::detect();
                    let (expected, found) =
                        (good.run(level, kind, step), case.run(level, kind, step));
                    let (before, after) = found.split_at(position * 2 * dim);
                    assert_eq!(bits(before), bits(&expected[..before.len()]));
                    for (i, head) in after.chunks(dim).enumerate() {
                        // A value spoils its own column, or the block that it shares a scale with.
                        let spoilt = head.iter().any(|x| !x.is_finite());
                        assert!(
                            spoilt,
                            "{kind:?}, {bad} at {position}, {step} at a time: head {i} after it"
                        );
                        assert!(
                            !key || head.iter().all(|x| x.is_nan()),
                            "a weight spoils all columns"
                        );
                    }
                }
                if n > 0 {
                    continue;
                }
                let scalar = bits(&case.run(Level::SCALAR, kind, tokens));
                for level in Level::available() {
                    assert_eq!(bits(&case.run(level, kind, tokens)), scalar, "{kind:?} {level}");
                }
            }
        }
    }
}

/// Numbers whose squares are infinite have no root mean square.
#[test]
fn a_norm_that_overflows_is_nan() {
    let mut x = values(40);
    x[7] = 1e25;
    let mut out = vec![0.0; 40];
    for level in Level::available() {
        rms_norm(level, &x, &[1.0; 40], 1e-5, &mut out);
        assert!(out.iter().all(|x| x.is_nan()), "{level}");
    }
}
