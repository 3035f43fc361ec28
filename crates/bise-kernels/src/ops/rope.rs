//! Rotary position embedding (Su et al., arXiv 2104.09864) on interleaved pairs, as GGUF's `llama`
//! stores them.

use crate::isa::{Isa, Kernel, Level};
use crate::threads::for_each_piece;

/// The rotation of each pair `i` of a head at a position: angle `position * theta^(-2i /
/// head_dim)`.
pub struct RopeTable {
    frequencies: Vec<f32>,
    /// `[row][pair]` of (cosine, sine), for the positions last asked for.
    rotations: Vec<(f32, f32)>,
}

impl RopeTable {
    /// Frequencies for `dims` rotated values a head (an even number) and base `theta`, with room
    /// for `positions` positions.
    pub fn new(dims: usize, theta: f32, positions: usize) -> Self {
        let frequency = |i| libm::pow(f64::from(theta), -2.0 * i as f64 / dims as f64) as f32;
        let frequencies: Vec<f32> = (0..dims / 2).map(frequency).collect();
        let rotations = Vec::with_capacity(positions * frequencies.len());
        Self {
            frequencies,
            rotations,
        }
    }

    /// Computes the rotations of `positions`, one for each row that is rotated next.
    ///
    /// The angle is rounded to f32, as the models' own training code does.
    pub fn set(&mut self, positions: impl IntoIterator<Item = usize>) {
        self.rotations.clear();
        for position in positions {
            self.rotations.extend(self.frequencies.iter().map(|frequency| {
                let (sin, cos) = libm::sincos(f64::from(position as f32 * frequency));
                (cos as f32, sin as f32)
            }));
        }
    }

    /// Rotates the heads in row `n` of `x` by the `n`-th position of [`set`](Self::set):
    ///
    /// ```text
    /// (x[2i], x[2i + 1]) = (x[2i] cos - x[2i + 1] sin, x[2i] sin + x[2i + 1] cos)
    /// ```
    ///
    /// `x` is `[rows][heads][head_dim]`; values of a head past the rotated ones are left alone.
    pub fn rotate(&self, level: Level, x: &mut [f32], head_dim: usize) {
        let pairs = self.frequencies.len();
        if pairs == 0 {
            return;
        }
        let row = x.len() / (self.rotations.len() / pairs);
        for_each_piece(x, row, |n, x| {
            level.run(Rotate {
                x,
                head_dim,
                rotations: &self.rotations[n * pairs..][..pairs],
            });
        });
    }
}

struct Rotate<'a> {
    x: &'a mut [f32],
    head_dim: usize,
    rotations: &'a [(f32, f32)],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        for head in self.x.chunks_exact_mut(self.head_dim) {
            for ([a, b], (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(self.rotations) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }
}
