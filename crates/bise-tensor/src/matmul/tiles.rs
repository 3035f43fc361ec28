//! Quantized rows of activations side by side, as the panels of weights meet them.

use super::activations::{GROUP, QuantizedRow};
use crate::block::IntFormat;
use rayon::prelude::*;

/// Rows of activations, cut into as few tiles as can be, all about as wide. In a tile neighbouring values belong to
/// neighbouring rows: no stride between rows can fall on the same cache line over and over.
#[derive(Default)]
pub(super) struct Tiles {
    /// The zero point and group of the format that this is for; `None` when there is nothing here.
    made_for: Option<(i32, usize)>,
    tiles: Vec<Tile>,
}

/// Some neighbouring rows of activations.
#[derive(Default)]
pub(super) struct Tile {
    /// The first row.
    pub first: usize,
    /// Rows.
    pub width: usize,
    /// `[values / 4][width]`: four neighbouring integers of each row.
    pub q: Vec<[i8; 4]>,
    /// `[values / 32][width]`: scales.
    pub d: Vec<f32>,
    /// `[values / F::GROUP][width]`: what an unsigned product lacks, `-ZERO * sum(q)`.
    pub bias: Vec<i32>,
    /// `[values / F::GROUP][width]`: `d * sum(q)`; empty for formats without minima.
    pub sums: Vec<f32>,
}

impl Tiles {
    /// Forgets the rows, and keeps the memory.
    pub fn clear(&mut self) {
        self.made_for = None;
    }

    /// Makes the tiles of `rows` rows, up to `columns` in each, for weights of format `F`, unless they are there already.
    pub fn make<'x, F: IntFormat>(
        &mut self,
        rows: usize,
        columns: usize,
        row: impl Fn(usize) -> QuantizedRow<'x> + Sync,
    ) {
        let made_for = Some((F::ZERO, F::GROUP));
        if self.made_for != made_for {
            self.made_for = made_for;
            let count = rows.div_ceil(columns);
            self.tiles.resize_with(count, Tile::default);
            self.tiles.par_iter_mut().enumerate().for_each(|(i, tile)| {
                tile.first = i * rows / count;
                tile.width = (i + 1) * rows / count - tile.first;
                tile.fill::<F>(&row);
            });
        }
    }

    /// What [`make`](Self::make) made.
    pub fn all(&self) -> &[Tile] {
        &self.tiles
    }
}

impl Tile {
    fn fill<'x, F: IntFormat>(&mut self, row: &impl Fn(usize) -> QuantizedRow<'x>) {
        let width = self.width;
        let values = row(self.first).q.len();
        self.q.clear();
        self.q.resize(values / 4 * width, [0; 4]);
        self.d.clear();
        self.d.resize(values / GROUP * width, 0.0);
        self.bias.clear();
        self.bias.resize(values / F::GROUP * width, 0);
        self.sums.clear();
        if F::HAS_MIN {
            self.sums.resize(values / F::GROUP * width, 0.0);
        }
        for c in 0..width {
            let x = row(self.first + c);
            for (i, four) in x.q.as_chunks::<4>().0.iter().enumerate() {
                self.q[i * width + c] = *four;
            }
            for (g, d) in x.d.iter().enumerate() {
                self.d[g * width + c] = *d;
            }
            for (g, group) in x.q.chunks_exact(F::GROUP).enumerate() {
                let sum: i32 = group.iter().map(|&q| i32::from(q)).sum();
                self.bias[g * width + c] = -F::ZERO * sum;
                if F::HAS_MIN {
                    self.sums[g * width + c] = x.sums(F::GROUP)[g];
                }
            }
        }
    }
}
