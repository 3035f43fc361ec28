//! Attention over cached keys and values, in chunks and spans fixed by absolute position.
//!
//! For each chunk of 64 positions that holds a visible key, in ascending order:
//!
//! ```text
//! s[j] = q . k[j]                                          a chain that the format of the cache defines
//! m    = max s[j],   p[j] = exp(s[j] - m),   l = sum p[j]  lanes j, j + 16, j + 32, j + 48, then the tree
//! o[d] = sum over visible j of p[j] v[j, d]                one fma chain, j ascending
//! ```
//!
//! then the chunk joins what came before: with `M' = max(M, m)`, `a = exp(M - M')`, `b = exp(m -
//! M')`, `L = fma(l, b, L a)` and `O = fma(o, b, O a)`. Eight chunks join to a span in this way,
//! and the spans join to the whole in the same way, both in ascending order. The result is `O / L`.
//!
//! For keys and values in F32 or F16 the score is
//!
//! ```text
//! q . k[j] = sum over d of q[d] k[j, d]                    one fma chain, d ascending
//! ```
//!
//! and in Q8_0, where `q`, `k[j]` and `v[j]` are blocks of 32 integers with scales `dq[g]`, `dk[j,
//! g]` and `dv[j, g]`,
//!
//! ```text
//! isum     = sum over the group of q[i] k[j, i]            exact, in i32
//! q . k[j] = sum over g of isum (dk[j, g] dq[g])           one fma chain, g ascending
//! o[d]     = sum over visible j of (p[j] dv[j, g]) v[j, d] one fma chain, j ascending
//! ```
//!
//! where each bracket is rounded once.
//!
//! As chunks and spans are cut by absolute position, prefill, decode and a ring cache see the same
//! partial results in the same order, whether one thread walks all spans or each takes some.

mod kv;
mod plain;
mod q8_0;
mod tile;

pub use kv::{CHUNK, KvType, MAX_HEAD_DIM};

use crate::isa::{Isa, Kernel, Level};
use crate::threads::{Strip, for_each_block, for_each_piece};
use kv::{KvFormat, KvVisitor, SoftmaxState};
use std::array::from_fn;
use std::marker::PhantomData;
use std::ops::Range;

/// Chunks in a span.
const SPAN: usize = 8;
/// Queries of a block, which one thread leads past all keys; a multiple of the queries of a tile.
const BLOCK: usize = 48;

/// Where the rows of a batch find the keys and values that they see.
pub trait KeyValues: Sync {
    /// The absolute positions that `row` sees, its own the last; not empty. In a part, later rows
    /// see neither a lower first nor a lower last position.
    fn visible(&self, row: usize) -> Range<usize>;

    /// The bytes of chunk `c` of key head `head` in the sequence of `row`; asked only for chunks
    /// that hold a position which a row of that sequence sees.
    fn chunk(&self, row: usize, head: usize, c: usize) -> &[u8];
}

/// Queries of a batch, and what they see.
pub struct Attention<'a> {
    /// `[rows][heads][head_dim]`, rotated.
    pub queries: &'a [f32],
    /// The rows of each part, ascending: neighbouring positions of one sequence.
    pub parts: &'a [Range<usize>],
    /// Keys and values.
    pub kv: &'a dyn KeyValues,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Query heads; head `h` reads key head `h / (heads / kv_heads)`.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Values of a head, at most [`MAX_HEAD_DIM`].
    pub head_dim: usize,
}

/// Floats of [`Workspace`] for one row of `heads` heads that sees keys in `chunks` neighbouring
/// chunks.
pub fn partials_len(heads: usize, head_dim: usize, chunks: usize) -> usize {
    (chunks.div_ceil(SPAN) + 1) * heads * (head_dim + 2)
}

/// Stores the key and the value of position `j` of a chunk of `kind`, each `head_dim` long.
pub fn store(level: Level, kind: KvType, j: usize, pair: [&[f32]; 2], chunk: &mut [u8]) {
    kind.visit(Store {
        level,
        j,
        pair,
        chunk,
    });
}

struct Store<'a> {
    level: Level,
    j: usize,
    /// A key and a value.
    pair: [&'a [f32]; 2],
    chunk: &'a mut [u8],
}

impl KvVisitor for Store<'_> {
    type Output = ();

    fn visit<K: KvFormat>(self) {
        self.level.run(StoreIn {
            store: self,
            format: PhantomData::<K>,
        });
    }
}

struct StoreIn<'a, K> {
    store: Store<'a>,
    format: PhantomData<K>,
}

impl<K: KvFormat> Kernel for StoreIn<'_, K> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let Store {
            j,
            pair: [key, value],
            chunk,
            ..
        } = self.store;
        K::store(j, key, value, chunk);
    }
}

/// What [`attend`] works in: how a batch is divided into tasks, and what the tasks of decoding
/// leave for each other. It grows to what the largest batch needs.
#[derive(Default)]
pub struct Workspace {
    /// Rows of each task of prefill.
    blocks: Vec<Range<usize>>,
    /// Rows that are decoded, a range each.
    rows: Vec<Range<usize>>,
    /// The spans that each of `rows` sees, and the first of its tasks.
    seen: Vec<(Range<usize>, usize)>,
    /// Tasks of decoding: row by row, and of a row `[head / heads of a task][span]`.
    tasks: Vec<Task>,
    /// What the tasks found: `[task][head of the task][max, total, sums]`.
    partials: Vec<f32>,
}

/// Some heads of a row that is decoded, and a span of its keys.
struct Task {
    row: usize,
    head: usize,
    span: usize,
}

impl Workspace {
    /// Room for decoding `rows` rows of `heads` heads that see keys in `chunks` chunks, so that
    /// [`attend`] within that allocates nothing.
    pub fn with_capacity(rows: usize, heads: usize, head_dim: usize, chunks: usize) -> Self {
        let tasks = rows * (chunks.div_ceil(SPAN) + 1) * heads;
        Self {
            blocks: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows),
            seen: Vec::with_capacity(rows),
            tasks: Vec::with_capacity(tasks),
            partials: Vec::with_capacity(rows * partials_len(heads, head_dim, chunks)),
        }
    }

    /// Divides a batch into tasks, in which `heads` heads read the same keys: a part of one row by
    /// spans of its keys, one of more rows by blocks of them.
    fn divide(&mut self, attention: &Attention<'_>, heads: usize) {
        self.blocks.clear();
        self.rows.clear();
        self.seen.clear();
        self.tasks.clear();
        for part in attention.parts {
            if part.len() == 1 {
                let row = part.start;
                let seen = spans(&attention.kv.visible(row));
                self.rows.push(part.clone());
                self.seen.push((seen.clone(), self.tasks.len()));
                for head in (0..attention.heads).step_by(heads) {
                    self.tasks
                        .extend(seen.clone().map(|span| Task { row, head, span }));
                }
            } else {
                let height = BLOCK / heads;
                let blocks = part.clone().step_by(height);
                self.blocks
                    .extend(blocks.map(|row| row..(row + height).min(part.end)));
            }
        }
        let partials = self.tasks.len() * heads * (attention.head_dim + 2);
        self.partials.resize(partials, 0.0);
    }
}

/// Runs attention over keys and values of `kind`, on the threads of the current pool; `out` is as
/// long as the queries. How rows are brought together in a batch changes no bit of their results.
///
/// # Panics
/// When a length does not fit the others, or the parts are not ascending rows of the queries.
pub fn attend(
    level: Level,
    kind: KvType,
    attention: &Attention<'_>,
    workspace: &mut Workspace,
    out: &mut [f32],
) {
    kind.visit(Attend {
        level,
        attention,
        workspace,
        out,
    });
}

/// The arguments of [`attend`].
struct Attend<'a, 'q> {
    level: Level,
    attention: &'a Attention<'q>,
    workspace: &'a mut Workspace,
    out: &'a mut [f32],
}

impl KvVisitor for Attend<'_, '_> {
    type Output = ();

    fn visit<K: KvFormat>(self) {
        attend_in::<K>(self.level, self.attention, self.workspace, self.out);
    }
}

/// [`attend`] over keys and values stored as `K`.
fn attend_in<K: KvFormat>(
    level: Level,
    attention: &Attention<'_>,
    workspace: &mut Workspace,
    out: &mut [f32],
) {
    let &Attention {
        queries,
        heads,
        kv_heads,
        head_dim,
        ..
    } = attention;
    assert!(heads.is_multiple_of(kv_heads) && head_dim <= MAX_HEAD_DIM);
    assert!(queries.len().is_multiple_of(heads * head_dim) && queries.len() == out.len());
    let heads = heads_of_task(heads / kv_heads);
    workspace.divide(attention, heads);
    prefill::<K>(level, attention, heads, &workspace.blocks, out);
    decode::<K>(level, attention, heads, workspace, out);
}

/// The heads of a group that a task takes: all, or when these are too many, as many as divide them.
fn heads_of_task(group: usize) -> usize {
    let divisor = (1..=group.min(BLOCK)).rev().find(|h| group.is_multiple_of(*h));
    divisor.unwrap_or(1)
}

/// Many rows of a sequence: each task takes a few of them, with heads that read the same keys, past
/// all spans.
fn prefill<K: KvFormat>(
    level: Level,
    attention: &Attention<'_>,
    heads: usize,
    blocks: &[Range<usize>],
    out: &mut [f32],
) {
    let (width, dim) = (attention.heads * attention.head_dim, attention.head_dim);
    for_each_block(out, width, blocks, heads * dim, |token, column, strip| {
        level.run(Block {
            attention,
            heads,
            token,
            head: column / dim,
            strip,
            format: PhantomData::<K>,
        });
    });
}

/// Single rows (split-K): each task takes a few heads that read the same keys past one span, and
/// the results of a row's spans are merged.
fn decode<K: KvFormat>(
    level: Level,
    attention: &Attention<'_>,
    heads: usize,
    workspace: &mut Workspace,
    out: &mut [f32],
) {
    let Workspace {
        rows,
        seen,
        tasks,
        partials,
        ..
    } = workspace;
    let (width, dim) = (attention.heads * attention.head_dim, attention.head_dim);
    for_each_piece(partials, heads * (dim + 2), |i, partials| {
        level.run(Part {
            attention,
            heads,
            row: tasks[i].row,
            head: tasks[i].head,
            span: tasks[i].span,
            partials,
            format: PhantomData::<K>,
        });
    });
    for_each_block(out, width, rows, dim, |row, column, mut strip| {
        let (spans, first) = &seen[rows.partition_point(|range| range.start < row)];
        let head = column / dim;
        let first = (first + head / heads * spans.len()) * heads + head % heads;
        let partials = partials.chunks_exact(dim + 2).skip(first).step_by(heads);
        level.run(MergeSpans {
            partials: partials.take(spans.len()),
            out: strip.row(0),
        });
    });
}

/// The spans that hold positions of `visible`.
fn spans(visible: &Range<usize>) -> Range<usize> {
    visible.start / (SPAN * CHUNK)..visible.end.div_ceil(SPAN * CHUNK)
}

/// Some tokens and heads past all spans.
struct Block<'a, 'q, K> {
    attention: &'a Attention<'q>,
    /// Heads of the block.
    heads: usize,
    /// The first token.
    token: usize,
    /// The first head.
    head: usize,
    /// The block's part of the results.
    strip: Strip<'a>,
    format: PhantomData<K>,
}

impl<K: KvFormat> Kernel for Block<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(mut self, isa: S) {
        let rows = self.strip.rows() * self.heads;
        let mut whole = [Softmax::EMPTY; BLOCK];
        for row in 0..rows {
            self.row(row).fill(0.0);
        }
        let (first, last) = (self.token, self.token + self.strip.rows() - 1);
        let visible = self.attention.kv.visible(first).start..self.attention.kv.visible(last).end;
        for span in spans(&visible) {
            let mut row = 0;
            while row < rows {
                row += match rows - row {
                    1 => self.tile::<S, 1>(isa, row, span, &mut whole),
                    2 | 3 => self.tile::<S, 2>(isa, row, span, &mut whole),
                    4 | 5 => self.tile::<S, 4>(isa, row, span, &mut whole),
                    _ => self.tile::<S, 6>(isa, row, span, &mut whole),
                };
            }
        }
        for (row, whole) in whole.iter().enumerate().take(rows) {
            for out in self.row(row) {
                *out /= whole.total;
            }
        }
    }
}

impl<K: KvFormat> Block<'_, '_, K> {
    /// Merges what `N` rows find in a span with the whole.
    #[inline(always)]
    fn tile<S: Isa, const N: usize>(
        &mut self,
        isa: S,
        first: usize,
        span: usize,
        whole: &mut [Softmax; BLOCK],
    ) -> usize {
        let place: [(usize, usize); N] = from_fn(|r| {
            (
                self.token + (first + r) / self.heads,
                self.head + (first + r) % self.heads,
            )
        });
        let found = self.attention.find::<S, K, N>(isa, place, span);
        for r in 0..N {
            // NaN is something.
            if found[r].total != 0.0 || found[r].max > f32::NEG_INFINITY {
                whole[first + r].merge(
                    found[r].max,
                    found[r].total,
                    &found[r].sums,
                    self.row(first + r),
                );
            }
        }
        N
    }

    /// The results of a row: rows are heads of a token, token after token.
    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [f32] {
        let dim = self.attention.head_dim;
        &mut self.strip.row(row / self.heads)[row % self.heads * dim..][..dim]
    }
}

/// Some heads of a row past one span.
struct Part<'a, 'q, K> {
    attention: &'a Attention<'q>,
    heads: usize,
    row: usize,
    /// The first head.
    head: usize,
    span: usize,
    /// `[heads][max, total, sums]`
    partials: &'a mut [f32],
    format: PhantomData<K>,
}

impl<K: KvFormat> Kernel for Part<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(mut self, isa: S) {
        let mut row = 0;
        while row < self.heads {
            row += match self.heads - row {
                1 => self.tile::<S, 1>(isa, row),
                2 | 3 => self.tile::<S, 2>(isa, row),
                4 | 5 => self.tile::<S, 4>(isa, row),
                _ => self.tile::<S, 6>(isa, row),
            };
        }
    }
}

impl<K: KvFormat> Part<'_, '_, K> {
    #[inline(always)]
    fn tile<S: Isa, const N: usize>(&mut self, isa: S, first: usize) -> usize {
        let place: [(usize, usize); N] = from_fn(|r| (self.row, self.head + first + r));
        let found = self.attention.find::<S, K, N>(isa, place, self.span);
        let dim = self.attention.head_dim;
        for r in 0..N {
            let partial = &mut self.partials[(first + r) * (dim + 2)..][..dim + 2];
            partial[0] = found[r].max;
            partial[1] = found[r].total;
            partial[2..].copy_from_slice(&found[r].sums[..dim]);
        }
        N
    }
}

impl Attention<'_> {
    /// What `N` queries of the same key head, each a token and a head, find in a span.
    #[inline(always)]
    fn find<S: Isa, K: KvFormat, const N: usize>(
        &self,
        isa: S,
        place: [(usize, usize); N],
        span: usize,
    ) -> [SoftmaxState; N] {
        let dim = self.head_dim;
        let queries = K::queries(
            from_fn(|r| &self.queries[(place[r].0 * self.heads + place[r].1) * dim..][..dim]),
            self.scale,
        );
        let visible: [Range<usize>; N] = from_fn(|r| self.kv.visible(place[r].0));
        let kv_head = place[0].1 / (self.heads / self.kv_heads);
        let chunks = span * SPAN..visible[N - 1].end.div_ceil(CHUNK).min((span + 1) * SPAN);
        let row = place[0].0;
        tile::span::<S, K, N>(isa, &queries, &visible, dim, chunks, |c| {
            self.kv.chunk(row, kv_head, c)
        })
    }
}

/// The partial results of a head, span after span.
struct MergeSpans<'a, P> {
    partials: P,
    out: &'a mut [f32],
}

impl<'p, P: Iterator<Item = &'p [f32]>> Kernel for MergeSpans<'_, P> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let mut whole = Softmax::EMPTY;
        self.out.fill(0.0);
        for partial in self.partials {
            whole.merge(partial[0], partial[1], &partial[2..], self.out);
        }
        for out in self.out {
            *out /= whole.total;
        }
    }
}

/// The largest score and the sum of `exp(score - max)` of all spans so far.
#[derive(Clone, Copy)]
struct Softmax {
    max: f32,
    total: f32,
}

impl Softmax {
    const EMPTY: Self = Self {
        max: f32::NEG_INFINITY,
        total: 0.0,
    };

    /// Merges a span; `sums` are merged with those in `out`.
    #[inline(always)]
    fn merge(&mut self, max: f32, total: f32, sums: &[f32], out: &mut [f32]) {
        let merged = if max > self.max { max } else { self.max };
        let (a, b) = (super::exp(self.max - merged), super::exp(max - merged));
        for (out, o) in out.iter_mut().zip(sums) {
            *out = o.mul_add(b, *out * a);
        }
        self.total = total.mul_add(b, self.total * a);
        self.max = merged;
    }
}
