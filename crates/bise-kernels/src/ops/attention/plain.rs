//! Keys and values as they are: F32 and F16.
//!
//! A chunk is panels, which are read from one end to the other:
//!
//! ```text
//! keys    [head_dim][64]                        one value of all keys side by side
//! values  [head_dim / 64][64][64]               64 values of one position side by side
//!         [what is left / 16, rounded up][64][16]
//! ```
//!
//! Panels of 16 would lie 4 KB apart where four are read at once, in the same sets of a cache.

use super::kv::{CHUNK, Chunk, KvFormat, MAX_HEAD_DIM, SoftmaxState, Weights};
use crate::block::{DType, F16, F32, RoundedFormat};
use crate::isa::{Isa, LANES};
use std::hint::black_box;
use std::ops::Range;

/// Sixteens in a row of a panel of 64.
const WIDE: usize = CHUNK / LANES;

/// A format of keys and values without scales; see [`KvFormat`].
pub trait PlainKvFormat: RoundedFormat + Load {
    /// The name that users know.
    const NAME: &'static str;
    /// The type of a tensor of such values.
    const DTYPE: DType;
    /// The largest value that can be held.
    const LARGEST: f32;
}

impl PlainKvFormat for F16 {
    const NAME: &'static str = "f16";
    const DTYPE: DType = DType::F16;
    const LARGEST: f32 = 65504.0;
}

impl PlainKvFormat for F32 {
    const NAME: &'static str = "f32";
    const DTYPE: DType = DType::F32;
    const LARGEST: f32 = f32::MAX;
}

impl<F: PlainKvFormat> KvFormat for F {
    type Queries<const N: usize> = [[f32; MAX_HEAD_DIM]; N];

    const NAME: &'static str = F::NAME;
    const DTYPE: DType = F::DTYPE;
    const LARGEST: f32 = F::LARGEST;

    #[inline(always)]
    fn chunk_bytes(head_dim: usize) -> usize {
        CHUNK * (head_dim + head_dim.next_multiple_of(LANES)) * F::BYTES
    }

    #[inline(always)]
    fn store(j: usize, key: &[f32], value: &[f32], chunk: &mut [u8]) {
        let mut row = [0; MAX_HEAD_DIM * size_of::<f32>()];
        let row = &mut row[..key.len() * F::BYTES];
        let (keys, values) = chunk.split_at_mut(CHUNK * row.len());
        F::from_f32s(key, row);
        if !key.iter().all(|k| k.abs() < F16_MOST) {
            infinite_to_nan::<F>(row);
        }
        let wide = CHUNK * F::BYTES;
        for (key, to) in row.chunks_exact(F::BYTES).zip(keys.chunks_exact_mut(wide)) {
            to[j * F::BYTES..][..F::BYTES].copy_from_slice(key);
        }
        F::from_f32s(value, row);
        let (row, rest) = row.split_at(row.len() / wide * wide);
        let (values, last) = values.split_at_mut(CHUNK * row.len());
        let narrow = LANES * F::BYTES;
        for (row, values, width) in [(row, values, wide), (rest, last, narrow)] {
            for (value, panel) in row.chunks(width).zip(values.chunks_exact_mut(CHUNK * width)) {
                panel[j * width..][..value.len()].copy_from_slice(value);
            }
        }
    }

    #[inline(always)]
    fn queries<const N: usize>(queries: [&[f32]; N], scale: f32) -> Self::Queries<N> {
        let mut scaled = [[0f32; MAX_HEAD_DIM]; N];
        for (scaled, query) in scaled.iter_mut().zip(queries) {
            for (scaled, q) in scaled.iter_mut().zip(query) {
                *scaled = q * scale;
            }
        }
        scaled
    }

    #[inline(always)]
    fn scores<S: Isa, const N: usize>(
        isa: S,
        queries: &Self::Queries<N>,
        head_dim: usize,
        chunk: Chunk<'_>,
    ) -> [[f32; CHUNK]; N] {
        let mut scores = [[0f32; CHUNK]; N];
        let (keys, dims, ahead) = (chunk.bytes, 0..head_dim, chunk.ahead(0));
        if S::MANY_ACCUMULATORS {
            let sums = product::<S, F, N, WIDE, WIDE, _>(isa, queries, dims, keys, 0, ahead);
            save(isa, &sums, 0, &mut scores);
        } else {
            for i in 0..WIDE {
                let dims = dims.clone();
                let sums = product::<S, F, N, 1, WIDE, _>(isa, queries, dims, keys, i, ahead);
                save(isa, &sums, i * LANES, &mut scores);
            }
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
        let p = &weights.p;
        let wide = head_dim / CHUNK * CHUNK;
        for panel in (0..wide).step_by(CHUNK) {
            let at = CHUNK * (head_dim + panel) * F::BYTES;
            let (v, ahead) = (&chunk.bytes[at..], chunk.ahead(at));
            if S::MANY_ACCUMULATORS {
                let sums = product::<S, F, N, WIDE, WIDE, _>(isa, p, seen.clone(), v, 0, ahead);
                merge(isa, &sums, weights, panel, rows);
            } else {
                for i in 0..WIDE {
                    let sums = product::<S, F, N, 1, WIDE, _>(isa, p, seen.clone(), v, i, ahead);
                    merge(isa, &sums, weights, panel + i * LANES, rows);
                }
            }
        }
        for panel in (wide..head_dim).step_by(LANES) {
            let at = CHUNK * (head_dim + panel) * F::BYTES;
            let (v, ahead) = (&chunk.bytes[at..], chunk.ahead(at));
            let sums = product::<S, F, N, 1, 1, _>(isa, p, seen.clone(), v, 0, ahead);
            merge(isa, &sums, weights, panel, rows);
        }
    }
}

/// The largest number in F16.
const F16_MOST: f32 = 65504.0;

/// Makes NaN of what is infinite: the score of a key with a value that cannot be held may else be
/// minus infinity, and the key would be passed over.
#[cold]
fn infinite_to_nan<F: RoundedFormat>(row: &mut [u8]) {
    for value in row.chunks_exact_mut(F::BYTES) {
        if F::to_f32(value).is_infinite() {
            F::from_f32s(&[f32::NAN], value);
        }
    }
}

/// Values that kernels load as they are stored.
pub trait Load {
    /// The bytes of 16 values.
    type Sixteen;

    /// `bytes`, 16 values at a time.
    fn sixteens(bytes: &[u8]) -> &[Self::Sixteen];

    /// 16 values, one a lane.
    fn load<S: Isa>(isa: S, bytes: &Self::Sixteen) -> S::F;
}

impl Load for F16 {
    type Sixteen = [u8; 2 * LANES];

    #[inline(always)]
    fn sixteens(bytes: &[u8]) -> &[Self::Sixteen] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn load<S: Isa>(isa: S, bytes: &Self::Sixteen) -> S::F {
        isa.load_f16(bytes)
    }
}

impl Load for F32 {
    type Sixteen = [u8; 4 * LANES];

    #[inline(always)]
    fn sixteens(bytes: &[u8]) -> &[Self::Sixteen] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn load<S: Isa>(isa: S, bytes: &Self::Sixteen) -> S::F {
        isa.load_f32(bytes)
    }
}

/// `sum over k of a[r][k] b[k][v][l]` for `k` in `range`, one fma chain for each `r`, `v` and `l`:
/// the `V` times 16 columns from `16 first` on of a panel of `W` times 16. What lies `ahead` bytes
/// further is asked for.
#[inline(always)]
pub(super) fn product<
    S: Isa,
    F: Load,
    const N: usize,
    const V: usize,
    const W: usize,
    const K: usize,
>(
    isa: S,
    a: &[[f32; K]; N],
    range: Range<usize>,
    panel: &[u8],
    first: usize,
    ahead: usize,
) -> [[S::F; V]; N] {
    assert!(first + V <= W);
    // Slices that are all as long as the loop need no checks in it.
    let len = range.len();
    let mut x = [&a[0][..0]; N];
    for r in 0..N {
        x[r] = &a[r][range.clone()][..len];
    }
    let b = &F::sixteens(panel).as_chunks::<W>().0[range][..len];
    let mut acc = [[isa.splat(0.0); V]; N];
    for k in 0..len {
        let mut w = [isa.splat(0.0); V];
        for v in 0..V {
            let sixteen = &b[k][first + v];
            // Once for each line of a cache.
            if (v * size_of::<F::Sixteen>()).is_multiple_of(LINE) {
                isa.prefetch_second((&raw const *sixteen).cast::<u8>().wrapping_add(ahead));
            }
            w[v] = F::load(isa, sixteen);
        }
        for r in 0..N {
            let x = isa.splat(x[r][k]);
            for v in 0..V {
                acc[r][v] = isa.fma(x, w[v], acc[r][v]);
            }
        }
    }
    acc
}

/// Bytes of a line of a cache.
const LINE: usize = 64;

/// Writes sums to each row, from column `at` on.
#[inline(always)]
pub(super) fn save<S: Isa, const N: usize, const V: usize>(
    isa: S,
    sums: &[[S::F; V]; N],
    at: usize,
    out: &mut [[f32; CHUNK]; N],
) {
    for r in 0..N {
        let out = out[r][at..at + V * LANES].as_chunks_mut::<LANES>().0;
        for v in 0..V {
            isa.store(sums[r][v], &mut out[v]);
        }
    }
    // Sums of several products would else be kept in registers, at the price of those of the next
    // product.
    black_box(out);
}

/// `O = fma(o, b, O a)` for the values of each row from `at` on.
#[inline(always)]
pub(super) fn merge<S: Isa, const N: usize, const V: usize>(
    isa: S,
    o: &[[S::F; V]; N],
    weights: &Weights<N>,
    at: usize,
    rows: &mut [SoftmaxState; N],
) {
    for r in 0..N {
        let (a, b) = (isa.splat(weights.a[r]), isa.splat(weights.b[r]));
        let all = rows[r].sums[at..at + V * LANES].as_chunks_mut::<LANES>().0;
        for v in 0..V {
            isa.store(isa.fma(o[r][v], b, isa.mul(isa.load(&all[v]), a)), &mut all[v]);
        }
    }
}
