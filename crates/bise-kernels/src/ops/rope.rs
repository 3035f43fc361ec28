//! Rotary position embedding (Su et al., arXiv 2104.09864) on interleaved pairs, as GGUF's `llama`
//! stores them.

use crate::isa::{Isa, Kernel, Level};
use crate::threads::for_each_piece;

/// The rotation of each pair `i` of a head at a position: angle `position * frequency_i`, times a
/// magnitude.
pub struct RopeTable {
    frequencies: Vec<f32>,
    magnitude: f64,
    temperature: Option<Temperature>,
    /// `[row][pair]` of (cosine, sine), for the positions last asked for.
    rotations: Vec<(f32, f32)>,
    /// `[row]`: what queries are multiplied by.
    scales: Vec<f32>,
}

/// Queries that grow with their position, so that attention stays as sharp among more keys:
///
/// ```text
/// s(p) = 1 + beta ln(1 + floor(p / length))
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// How much.
    pub beta: f32,
    /// Positions in which nothing grows; from 1 on.
    pub length: usize,
}

impl Temperature {
    /// What the query at `position` is multiplied by.
    pub fn scale(self, position: usize) -> f32 {
        let steps = (position / self.length.max(1)) as f64;
        (1.0 + f64::from(self.beta) * libm::log(1.0 + steps)) as f32
    }
}

impl RopeTable {
    /// For `frequencies`, one for each pair of rotated values of a head, in radians a position.
    /// Rotated values are multiplied by `magnitude`. There is room for `positions` positions.
    pub fn new(
        frequencies: Vec<f32>,
        magnitude: f32,
        temperature: Option<Temperature>,
        positions: usize,
    ) -> Self {
        Self {
            rotations: Vec::with_capacity(positions * frequencies.len()),
            scales: Vec::with_capacity(positions),
            frequencies,
            magnitude: f64::from(magnitude),
            temperature,
        }
    }

    /// Computes the rotations of `positions`, one for each row that is rotated next.
    ///
    /// The angle is rounded to f32, as the models' own training code does.
    pub fn set(&mut self, positions: impl IntoIterator<Item = usize>) {
        self.rotations.clear();
        self.scales.clear();
        for position in positions {
            self.rotations.extend(self.frequencies.iter().map(|frequency| {
                let (sin, cos) = libm::sincos(f64::from(position as f32 * frequency));
                ((self.magnitude * cos) as f32, (self.magnitude * sin) as f32)
            }));
            let scale = self.temperature.map_or(1.0, |t| t.scale(position));
            self.scales.push(scale);
        }
    }

    /// Rotates the keys in row `n` of `k`, `[rows][heads][head_dim]`, by the `n`-th position of
    /// [`set`](Self::set):
    ///
    /// ```text
    /// (x[2i], x[2i + 1]) = (x[2i] cos - x[2i + 1] sin, x[2i] sin + x[2i + 1] cos)
    /// ```
    ///
    /// Values of a head past the rotated ones are left alone.
    pub fn rotate_keys(&self, level: Level, k: &mut [f32], head_dim: usize) {
        self.rotate(level, k, head_dim, |_| 1.0);
    }

    /// As [`rotate_keys`](Self::rotate_keys) for queries, all values of which are then multiplied by
    /// their position's [`Temperature`].
    pub fn rotate_queries(&self, level: Level, q: &mut [f32], head_dim: usize) {
        self.rotate(level, q, head_dim, |n| self.scales[n]);
    }

    fn rotate(
        &self,
        level: Level,
        x: &mut [f32],
        head_dim: usize,
        scale: impl Fn(usize) -> f32 + Sync,
    ) {
        let (rows, pairs) = (self.scales.len(), self.frequencies.len());
        if rows == 0 {
            return;
        }
        for_each_piece(x, x.len() / rows, |n, x| {
            level.run(Rotate {
                x,
                head_dim,
                rotations: &self.rotations[n * pairs..][..pairs],
                scale: scale(n),
            });
        });
    }
}

struct Rotate<'a> {
    x: &'a mut [f32],
    head_dim: usize,
    rotations: &'a [(f32, f32)],
    scale: f32,
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        for head in self.x.chunks_exact_mut(self.head_dim) {
            for ([a, b], (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(self.rotations) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
            if self.scale != 1.0 {
                head.iter_mut().for_each(|value| *value *= self.scale);
            }
        }
    }
}
