//! Attention of one query head over cached keys and values, in chunks fixed by absolute position.
//!
//! For each chunk `c` of 64 positions that holds a visible key, in ascending order:
//!
//! ```text
//! s[j] = sum over d of q[d] k[j, d]                        one fma chain, d ascending
//! m    = max s[j],   p[j] = exp(s[j] - m),   l = sum p[j]  lanes j, j + 16, j + 32, j + 48, then the tree
//! o[d] = sum over visible j of p[j] v[j, d]                one fma chain, j ascending
//! ```
//!
//! then the chunk joins what came before: with `M' = max(M, m)`, `a = exp(M - M')`, `b = exp(m - M')`,
//! `L = fma(l, b, L a)` and `O = fma(o, b, O a)`. The result is `O / L`. As chunks are cut by absolute
//! position, prefill, decode and a ring cache see the same partial results in the same order.

use super::exp;
use crate::block::PlainFormat;
use crate::isa::{Isa, Kernel, LANES, Level};
use std::ops::Range;

/// Positions in a chunk.
pub const CHUNK: usize = 64;

/// Keys and values of the 64 positions `64 c .. 64 c + 64`, one head, as values of a [`PlainFormat`].
#[derive(Clone, Copy)]
pub struct KvChunk<'a> {
    /// `[head_dim][64]`: value `d` of all keys side by side.
    pub keys: &'a [u8],
    /// `[64][stride]`, where `stride` is `head_dim` rounded up to 16.
    pub values: &'a [u8],
}

/// One query and what it sees.
pub struct Attention<'a, C> {
    /// The rotated query, already divided by `sqrt(head_dim)`.
    pub query: &'a [f32],
    /// Absolute positions of the visible keys; not empty.
    pub visible: Range<usize>,
    /// Gives chunk `c`; asked only for those that hold a visible position.
    pub chunk: C,
    /// Takes the `head_dim` results.
    pub out: &'a mut [f32],
}

/// Runs the attention of one query over keys and values stored as `F`.
pub fn attend<'k, F: PlainFormat>(level: Level, attention: Attention<'_, impl Fn(usize) -> KvChunk<'k>>) {
    level.run(Attend::<F, _> {
        attention,
        format: std::marker::PhantomData,
    });
}

struct Attend<'a, F, C> {
    attention: Attention<'a, C>,
    format: std::marker::PhantomData<F>,
}

/// Values of the widest head, in lanes.
const MAX_LANES: usize = 512 / LANES;

impl<'k, F: PlainFormat, C: Fn(usize) -> KvChunk<'k>> Kernel for Attend<'_, F, C> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let Attention {
            query,
            visible,
            chunk,
            out,
        } = self.attention;
        assert!(
            query.len() <= MAX_LANES * LANES,
            "a head of {} values",
            query.len()
        );
        let lanes = query.len().div_ceil(LANES);
        let mut all = [[0f32; LANES]; MAX_LANES];
        let all = &mut all[..lanes];
        let (mut most, mut total) = (f32::NEG_INFINITY, 0f32);
        for c in visible.start / CHUNK..visible.end.div_ceil(CHUNK) {
            let start = c * CHUNK;
            let seen = visible.start.max(start) - start..visible.end.min(start + CHUNK) - start;
            let KvChunk { keys, values } = chunk(c);
            let scores = scores::<S, F>(isa, query, keys);
            let (p, m, l) = softmax(isa, &scores, seen.clone());
            let joined = if m > most { m } else { most };
            let (a, b) = (exp(most - joined), exp(m - joined));
            let (a_lanes, b_lanes) = (isa.splat(a), isa.splat(b));
            for (i, all) in all.iter_mut().enumerate() {
                let mut o = isa.splat(0.0);
                for j in seen.clone() {
                    let v = F::load(
                        isa,
                        &values[(j * lanes + i) * LANES * F::BYTES..][..LANES * F::BYTES],
                    );
                    o = isa.fma(isa.splat(p[j]), v, o);
                }
                isa.store(isa.fma(o, b_lanes, isa.mul(isa.load(all), a_lanes)), all);
            }
            total = l.mul_add(b, total * a);
            most = joined;
        }
        for (out, all) in out.iter_mut().zip(all.as_flattened()) {
            *out = all / total;
        }
    }
}

/// `query . key` for the 64 keys of a chunk, visible or not.
#[inline(always)]
fn scores<S: Isa, F: PlainFormat>(isa: S, query: &[f32], keys: &[u8]) -> [f32; CHUNK] {
    let mut acc = [isa.splat(0.0); CHUNK / LANES];
    for (d, q) in query.iter().enumerate() {
        let q = isa.splat(*q);
        for (i, acc) in acc.iter_mut().enumerate() {
            let k = F::load(
                isa,
                &keys[(d * CHUNK + i * LANES) * F::BYTES..][..LANES * F::BYTES],
            );
            *acc = isa.fma(q, k, *acc);
        }
    }
    let mut scores = [0f32; CHUNK];
    for (acc, out) in acc.into_iter().zip(scores.as_chunks_mut::<LANES>().0) {
        isa.store(acc, out);
    }
    scores
}

/// The chunk's `p`, its largest score and the sum of `p`; what is not `seen` counts nothing.
#[inline(always)]
fn softmax<S: Isa>(isa: S, scores: &[f32; CHUNK], seen: Range<usize>) -> ([f32; CHUNK], f32, f32) {
    let most = scores[seen.clone()]
        .iter()
        .fold(f32::NEG_INFINITY, |m, &s| if s > m { s } else { m });
    let mut p = [f32::NEG_INFINITY; CHUNK];
    for j in seen {
        p[j] = scores[j] - most;
    }
    for p in &mut p {
        *p = exp(*p);
    }
    let quarters = p.as_chunks::<LANES>().0;
    let mut sum = isa.load(&quarters[0]);
    for quarter in &quarters[1..] {
        sum = isa.add(sum, isa.load(quarter));
    }
    let sum = isa.sum(sum);
    (p, most, sum)
}
