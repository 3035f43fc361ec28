//! A few queries over a span of chunks.

use super::kv::{CHUNK, Chunk, KvFormat, SoftmaxState, Weights};
use crate::isa::{Isa, LANES};
use crate::ops::exp;
use std::array::from_mut;
use std::ops::Range;

/// What `N` queries find in `chunks`; query `r` sees the positions `visible[r]`.
#[inline(always)]
pub(super) fn span<'k, S: Isa, K: KvFormat, const N: usize>(
    isa: S,
    queries: &K::Queries<N>,
    visible: &[Range<usize>; N],
    head_dim: usize,
    chunks: Range<usize>,
    chunk: impl Fn(usize) -> &'k [u8],
) -> [SoftmaxState; N] {
    let mut rows = [SoftmaxState::EMPTY; N];
    let end_of_span = chunks.end;
    for c in chunks {
        let mut seen = [(0, 0); N];
        for r in 0..N {
            seen[r] = clip(&visible[r], c);
        }
        let (start, end) = seen[0];
        let alike = seen.iter().all(|s| *s == seen[0]);
        if alike && start == end {
            continue;
        }
        let bytes = chunk(c);
        let chunk = Chunk {
            bytes,
            next: if c + 1 < end_of_span { chunk(c + 1) } else { bytes },
        };
        let scores = K::scores::<S, N>(isa, queries, head_dim, chunk);
        if alike {
            let weights = softmax_weights(isa, &scores, start..end, &mut rows);
            K::add_weighted_values(isa, &weights, start..end, head_dim, chunk, &mut rows);
        } else {
            for r in 0..N {
                let (start, end) = seen[r];
                if start < end {
                    let row = from_mut(&mut rows[r]);
                    let weights = softmax_weights(isa, &[scores[r]], start..end, row);
                    K::add_weighted_values(isa, &weights, start..end, head_dim, chunk, row);
                }
            }
        }
    }
    rows
}

/// The part of `visible` in chunk `c`, counted from the chunk's start; (0, 0) when there is none.
#[inline(always)]
fn clip(visible: &Range<usize>, c: usize) -> (usize, usize) {
    let inside = |position: usize| position.saturating_sub(c * CHUNK).min(CHUNK);
    let (start, end) = (inside(visible.start), inside(visible.end));
    if start < end { (start, end) } else { (0, 0) }
}

/// The chunk's `p`, `a` and `b`; `rows` take its largest score and sum, and have still to take its
/// values.
#[inline(always)]
fn softmax_weights<S: Isa, const N: usize>(
    isa: S,
    scores: &[[f32; CHUNK]; N],
    seen: Range<usize>,
    rows: &mut [SoftmaxState; N],
) -> Weights<N> {
    let mut w = Weights {
        p: *scores,
        a: [0.0; N],
        b: [0.0; N],
    };
    let mut totals = [0f32; N];
    for r in 0..N {
        if seen != (0..CHUNK) {
            for (j, score) in w.p[r].iter_mut().enumerate() {
                *score = if seen.contains(&j) {
                    *score
                } else {
                    f32::NEG_INFINITY
                };
            }
        }
        let max = largest(&w.p[r]);
        let merged = if max > rows[r].max { max } else { rows[r].max };
        (w.a[r], w.b[r]) = (rows[r].max - merged, max - merged);
        rows[r].max = merged;
        for p in &mut w.p[r] {
            *p = exp(*p - max);
        }
        totals[r] = sum(isa, &w.p[r]);
    }
    for r in 0..N {
        (w.a[r], w.b[r]) = (exp(w.a[r]), exp(w.b[r]));
        rows[r].total = totals[r].mul_add(w.b[r], rows[r].total * w.a[r]);
    }
    w
}

/// The largest of 64 scores.
#[inline(always)]
fn largest(scores: &[f32; CHUNK]) -> f32 {
    let quarters = scores.as_chunks::<LANES>().0;
    let mut max = quarters[0];
    for quarter in &quarters[1..] {
        for l in 0..LANES {
            max[l] = if quarter[l] > max[l] { quarter[l] } else { max[l] };
        }
    }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            max[l] = if max[l + half] > max[l] {
                max[l + half]
            } else {
                max[l]
            };
        }
    }
    max[0]
}

/// The sum of 64 values: lanes `j`, `j + 16`, `j + 32`, `j + 48`, then the tree.
#[inline(always)]
fn sum<S: Isa>(isa: S, p: &[f32; CHUNK]) -> f32 {
    let quarters = p.as_chunks::<LANES>().0;
    let mut sum = isa.load(&quarters[0]);
    for quarter in &quarters[1..] {
        sum = isa.add(sum, isa.load(quarter));
    }
    isa.reduce_sum(sum)
}
