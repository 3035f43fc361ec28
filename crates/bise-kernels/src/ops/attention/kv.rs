//! What attention asks of a format of cached keys and values.

use crate::block::{DType, F16, F32, Q8_0};
use crate::isa::Isa;
use std::fmt;
use std::ops::Range;

/// Positions in a chunk.
pub const CHUNK: usize = 64;

/// Values of the widest head.
pub const MAX_HEAD_DIM: usize = 512;

/// The format of cached keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// Two bytes a value.
    #[default]
    F16,
    /// Four bytes a value.
    F32,
    /// 34 bytes for 32 values, or for what is left of a head.
    Q8_0,
}

/// Code to be compiled once for each format; [`KvType::visit`] picks the instance.
pub(super) trait KvVisitor {
    /// What a visit gives.
    type Output;
    /// Called for the format.
    fn visit<K: KvFormat>(self) -> Self::Output;
}

impl KvType {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::F16, Self::F32, Self::Q8_0];

    /// Runs the visitor's instance for this format. Nothing else tells formats apart.
    pub(super) fn visit<V: KvVisitor>(self, visitor: V) -> V::Output {
        match self {
            Self::F16 => visitor.visit::<F16>(),
            Self::F32 => visitor.visit::<F32>(),
            Self::Q8_0 => visitor.visit::<Q8_0>(),
        }
    }

    fn facts(self) -> Facts {
        self.visit(FactsOf)
    }

    /// The name that users know, such as `q8_0`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The type of a tensor of such values.
    pub fn dtype(self) -> DType {
        self.facts().dtype
    }

    /// GGML's number for that type.
    pub fn id(self) -> u32 {
        self.dtype().id().expect("a type of GGML")
    }

    /// The largest value that can be held.
    pub fn largest(self) -> f32 {
        self.facts().largest
    }

    /// Bytes of a chunk of one head.
    pub fn chunk_bytes(self, head_dim: usize) -> usize {
        (self.facts().chunk_bytes)(head_dim)
    }

    /// The format of the least bytes.
    pub fn smallest(head_dim: usize) -> Self {
        let formats = Self::ALL.into_iter();
        let smallest = formats.min_by_key(|kind| kind.chunk_bytes(head_dim));
        smallest.unwrap_or_default()
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What there is to know about a format.
struct Facts {
    name: &'static str,
    dtype: DType,
    largest: f32,
    chunk_bytes: fn(usize) -> usize,
}

struct FactsOf;

impl KvVisitor for FactsOf {
    type Output = Facts;

    fn visit<K: KvFormat>(self) -> Facts {
        Facts {
            name: K::NAME,
            dtype: K::DTYPE,
            largest: K::LARGEST,
            chunk_bytes: K::chunk_bytes,
        }
    }
}

/// How the keys and values of a chunk, the 64 positions `64 c .. 64 c + 64` of one head, lie in
/// memory, and the two products with them.
///
/// Implementations mark their functions `#[inline(always)]`: they are compiled for each instruction
/// set.
pub trait KvFormat: Send + Sync + 'static {
    /// `N` queries, as the keys are multiplied with them.
    type Queries<const N: usize>;

    /// The name that users know.
    const NAME: &'static str;

    /// The type of a tensor of such values.
    const DTYPE: DType;

    /// The largest value that can be held.
    const LARGEST: f32;

    /// Bytes of a chunk.
    fn chunk_bytes(head_dim: usize) -> usize;

    /// Stores the key and the value of position `j` of `chunk`, each `head_dim` long.
    fn store(j: usize, key: &[f32], value: &[f32], chunk: &mut [u8]);

    /// `queries` times `scale`, each `head_dim` long.
    fn queries<const N: usize>(queries: [&[f32]; N], scale: f32) -> Self::Queries<N>;

    /// The scores of all 64 keys of `chunk`, visible or not.
    fn scores<S: Isa, const N: usize>(
        isa: S,
        queries: &Self::Queries<N>,
        head_dim: usize,
        chunk: Chunk<'_>,
    ) -> [[f32; CHUNK]; N];

    /// Adds to each row `o`, the sum of `p[j] v[j]` over the positions `seen` of `chunk`: `O =
    /// fma(o, b, O a)`.
    fn add_weighted_values<S: Isa, const N: usize>(
        isa: S,
        weights: &Weights<N>,
        seen: Range<usize>,
        head_dim: usize,
        chunk: Chunk<'_>,
        rows: &mut [SoftmaxState; N],
    );
}

/// The bytes of a chunk, and of the one that comes next.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    pub bytes: &'a [u8],
    pub next: &'a [u8],
}

/// How far ahead of where they are read keys and values are asked for, to come into the second
/// cache: a quarter of a chunk of heads of 128 values in F16. Brought into the first one, 4 to 32 KB
/// ahead, they came a sixth more slowly (Zen 4).
const AHEAD: usize = 8 << 10;

impl Chunk<'_> {
    /// How far from what is read at `at` lies what should come into the cache meanwhile; it may lie
    /// in the next chunk.
    #[inline(always)]
    pub fn ahead(&self, at: usize) -> usize {
        let end = self.bytes.as_ptr_range().end as usize;
        match at + AHEAD < self.bytes.len() {
            true => AHEAD,
            false => AHEAD.wrapping_add((self.next.as_ptr() as usize).wrapping_sub(end)),
        }
    }
}

/// What `N` queries take of a chunk.
pub struct Weights<const N: usize> {
    /// Of each position; 0 for those not seen.
    pub p: [[f32; CHUNK]; N],
    /// Of what came before the chunk.
    pub a: [f32; N],
    /// Of the chunk.
    pub b: [f32; N],
}

/// What a query has found in the keys seen so far.
#[derive(Clone, Copy)]
pub struct SoftmaxState {
    /// The largest score; minus infinity before any key.
    pub max: f32,
    /// The sum of `exp(score - max)`.
    pub total: f32,
    /// The sum of `exp(score - max)` times the value.
    pub sums: [f32; MAX_HEAD_DIM],
}

impl SoftmaxState {
    /// Nothing.
    pub const EMPTY: Self = Self {
        max: f32::NEG_INFINITY,
        total: 0.0,
        sums: [0.0; MAX_HEAD_DIM],
    };
}
