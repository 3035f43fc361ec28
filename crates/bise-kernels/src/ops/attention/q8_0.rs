//! Keys and values as blocks of [`Q8_0`]: 32 integers of 8 bits with one f16 scale.
//!
//! Heads are filled up with zeros to whole blocks, `groups` of them. A chunk is
//!
//! ```text
//! keys          [64 / 16][groups][8][16][4]   four values of each of 16 keys, plus 128, as `Isa::dot_accumulate` takes them
//! key scales    [64 / 16][groups][16]         f16
//! values        [2 groups][64][16]            16 values of one position side by side
//! value scales  [groups][64]                  f16
//! ```

use super::kv::{CHUNK, Chunk, KvFormat, MAX_HEAD_DIM, SoftmaxState, Weights};
use super::plain::{Load, merge, product, save};
use crate::block::{DType, F16, Format, PlainFormat, Q8_0, RoundedFormat};
use crate::isa::{Isa, LANES};
use std::ops::Range;

/// Values of a block.
const GROUP: usize = Q8_0::LEN;
/// Blocks of the widest head.
const MAX_GROUPS: usize = MAX_HEAD_DIM / GROUP;
/// What makes the keys' integers unsigned.
const ZERO: i32 = 128;
/// Bytes of one group of the keys in a panel of 16.
const KEYS: usize = GROUP * LANES;
/// Bytes of the scales of 16 keys.
const SCALES: usize = 2 * LANES;

/// Queries, quantized.
pub struct Queries<const N: usize> {
    /// `[groups][8]`: four values each.
    q: [[[i8; 4]; MAX_HEAD_DIM / 4]; N],
    d: [[f32; MAX_GROUPS]; N],
    /// What the products with unsigned keys lack: `-128` times the sum of the group.
    bias: [[i32; MAX_GROUPS]; N],
}

/// Where the key scales, the values and the value scales of a chunk begin, and the last end.
fn parts(head_dim: usize) -> [usize; 4] {
    let groups = head_dim.div_ceil(GROUP);
    let (integers, scales) = (CHUNK * groups * GROUP, CHUNK * groups * 2);
    [
        integers,
        integers + scales,
        2 * integers + scales,
        2 * (integers + scales),
    ]
}

/// Up to 32 values as a block; its scale is NaN when F16 cannot hold it, or a value is infinite or
/// NaN.
#[inline(always)]
fn quantize(x: &[f32]) -> [u8; Q8_0::BYTES] {
    let mut filled = [0f32; GROUP];
    filled[..x.len()].copy_from_slice(x);
    let mut block = [0; Q8_0::BYTES];
    Q8_0::quantize(&filled, None, &mut block);
    if !F16::to_f32(&block[..2]).is_finite() {
        F16::from_f32s(&[f32::NAN], &mut block[..2]);
    }
    block
}

impl Load for i8 {
    type Sixteen = [u8; LANES];

    #[inline(always)]
    fn sixteens(bytes: &[u8]) -> &[Self::Sixteen] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn load<S: Isa>(isa: S, bytes: &Self::Sixteen) -> S::F {
        isa.load_i8(bytes)
    }
}

impl KvFormat for Q8_0 {
    type Queries<const N: usize> = Queries<N>;

    const NAME: &'static str = "q8_0";
    const DTYPE: DType = DType::Q8_0;
    /// 127 times the largest scale, in F16.
    const LARGEST: f32 = 127.0 * 65504.0;

    #[inline(always)]
    fn chunk_bytes(head_dim: usize) -> usize {
        parts(head_dim)[3]
    }

    #[inline(always)]
    fn store(j: usize, key: &[f32], value: &[f32], chunk: &mut [u8]) {
        let [key_scales, values, value_scales, _] = parts(key.len());
        let (groups, panel, lane) = (key.len().div_ceil(GROUP), j / LANES, j % LANES);
        for (g, key) in key.chunks(GROUP).enumerate() {
            let block = quantize(key);
            let to = panel * groups + g;
            chunk[key_scales + to * SCALES + 2 * lane..][..2].copy_from_slice(&block[..2]);
            let fours = chunk[to * KEYS..][..KEYS].chunks_exact_mut(4 * LANES);
            for (four, to) in block[2..].as_chunks::<4>().0.iter().zip(fours) {
                to[4 * lane..][..4].copy_from_slice(&four.map(|q| q.wrapping_add(ZERO as u8)));
            }
        }
        for (g, value) in value.chunks(GROUP).enumerate() {
            let block = quantize(value);
            chunk[value_scales + (g * CHUNK + j) * 2..][..2].copy_from_slice(&block[..2]);
            for (half, q) in block[2..].as_chunks::<LANES>().0.iter().enumerate() {
                chunk[values + ((2 * g + half) * CHUNK + j) * LANES..][..LANES].copy_from_slice(q);
            }
        }
    }

    #[inline(always)]
    fn queries<const N: usize>(queries: [&[f32]; N], scale: f32) -> Queries<N> {
        let mut all = Queries {
            q: [[[0; 4]; MAX_HEAD_DIM / 4]; N],
            d: [[0.0; MAX_GROUPS]; N],
            bias: [[0; MAX_GROUPS]; N],
        };
        for r in 0..N {
            for (g, query) in queries[r].chunks(GROUP).enumerate() {
                let mut scaled = [0f32; GROUP];
                for (scaled, q) in scaled.iter_mut().zip(query) {
                    *scaled = q * scale;
                }
                let block = quantize(&scaled);
                all.d[r][g] = F16::to_f32(&block[..2]);
                for (to, four) in all.q[r][g * GROUP / 4..]
                    .iter_mut()
                    .zip(block[2..].as_chunks::<4>().0)
                {
                    *to = four.map(|q| q as i8);
                    all.bias[r][g] -= ZERO * to.iter().map(|q| i32::from(*q)).sum::<i32>();
                }
            }
        }
        all
    }

    #[inline(always)]
    fn scores<S: Isa, const N: usize>(
        isa: S,
        queries: &Queries<N>,
        head_dim: usize,
        chunk: Chunk<'_>,
    ) -> [[f32; CHUNK]; N] {
        let (keys, scales) = chunk.bytes.split_at(parts(head_dim)[0]);
        let groups = head_dim.div_ceil(GROUP);
        let mut scores = [[0f32; CHUNK]; N];
        for panel in 0..CHUNK / LANES {
            let mut acc = [[isa.splat(0.0)]; N];
            for g in 0..groups {
                let at = panel * groups + g;
                let ahead = chunk.ahead(at * KEYS);
                let isum = dots(isa, queries, g, &keys[at * KEYS..][..KEYS], ahead);
                let scale = <F16 as PlainFormat>::load(isa, &scales[at * SCALES..][..SCALES]);
                for r in 0..N {
                    let d = isa.mul(scale, isa.splat(queries.d[r][g]));
                    acc[r][0] = isa.fma(isa.to_f32(isum[r]), d, acc[r][0]);
                }
            }
            save(isa, &acc, panel * LANES, &mut scores);
        }
        scores
    }

    #[inline(always)]
    fn add_weighted_values<S: Isa, const N: usize>(
        isa: S,
        weights: &Weights<N>,
        seen: Range<usize>,
        head_dim: usize,
        chunk: Chunk<'_>,
        rows: &mut [SoftmaxState; N],
    ) {
        let [_, values, scales, _] = parts(head_dim);
        let panel = CHUNK * LANES;
        for g in 0..head_dim.div_ceil(GROUP) {
            let mut scaled = [[0f32; CHUNK]; N];
            let d = &chunk.bytes[scales + g * CHUNK * 2..][..CHUNK * 2];
            for (i, d) in d.as_chunks::<SCALES>().0.iter().enumerate() {
                let d = isa.load_f16(d);
                for r in 0..N {
                    let p = &weights.p[r].as_chunks::<LANES>().0[i];
                    let to = &mut scaled[r].as_chunks_mut::<LANES>().0[i];
                    isa.store(isa.mul(isa.load(p), d), to);
                }
            }
            for half in 0..2 {
                let at = values + (2 * g + half) * panel;
                let (v, ahead) = (&chunk.bytes[at..][..panel], chunk.ahead(at));
                let sums = product::<S, i8, N, 1, 1, _>(isa, &scaled, seen.clone(), v, 0, ahead);
                merge(isa, &sums, weights, g * GROUP + half * LANES, rows);
            }
        }
    }
}

/// The exact products of group `g` of each query with 16 keys.
#[inline(always)]
fn dots<S: Isa, const N: usize>(
    isa: S,
    queries: &Queries<N>,
    g: usize,
    keys: &[u8],
    ahead: usize,
) -> [S::I; N] {
    let mut sum = [isa.dot_zero(); N];
    for (i, four) in keys.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
        isa.prefetch_second(four.as_ptr().wrapping_add(ahead));
        let four = isa.load_bytes(four);
        for r in 0..N {
            sum[r] = isa.dot_accumulate(sum[r], four, queries.q[r][g * GROUP / 4 + i], 8);
        }
    }
    let mut isum = [isa.splat_int(0); N];
    for r in 0..N {
        isum[r] = isa.dot_widen(sum[r], 8);
        if !S::SIGNED_WEIGHTS {
            isum[r] = isa.add_int(isum[r], isa.splat_int(queries.bias[r][g]));
        }
    }
    isum
}
