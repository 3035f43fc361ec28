//! Quantized rows of activations side by side, as the panels of weights meet them.

use super::activations::{GROUP, QuantizedRow};
use crate::block::IntFormat;
use crate::isa::{Isa, Kernel, Level};
use rayon::prelude::*;
use std::marker::PhantomData;

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

    /// Makes the tiles of `rows` rows for weights of format `F`, each as wide as kernels of `level` go, unless they are
    /// there already.
    pub fn make<'x, F: IntFormat>(
        &mut self,
        level: Level,
        rows: usize,
        row: impl Fn(usize) -> QuantizedRow<'x> + Sync,
    ) {
        let made_for = Some((F::ZERO, F::GROUP));
        if self.made_for != made_for {
            self.made_for = made_for;
            let count = rows.div_ceil(level.columns());
            self.tiles.resize_with(count, Tile::default);
            self.tiles.par_iter_mut().enumerate().for_each(|(i, tile)| {
                tile.first = i * rows / count;
                tile.width = (i + 1) * rows / count - tile.first;
                for c in 0..tile.width {
                    let (x, format) = (row(tile.first + c), PhantomData::<F>);
                    tile.make_room::<F>(x.q.len());
                    level.run(Lay { x, c, tile, format });
                }
            });
        }
    }

    /// What [`make`](Self::make) made.
    pub fn all(&self) -> &[Tile] {
        &self.tiles
    }
}

impl Tile {
    fn make_room<F: IntFormat>(&mut self, values: usize) {
        let groups = values / F::GROUP * self.width;
        self.q.resize(values / 4 * self.width, [0; 4]);
        self.d.resize(values / GROUP * self.width, 0.0);
        self.bias.resize(groups, 0);
        self.sums.resize(if F::HAS_MIN { groups } else { 0 }, 0.0);
    }
}

/// Lays a row of activations into column `c` of a tile.
struct Lay<'a, F> {
    x: QuantizedRow<'a>,
    c: usize,
    tile: &'a mut Tile,
    format: PhantomData<F>,
}

impl<F: IntFormat> Kernel for Lay<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let Self { x, c, tile, .. } = self;
        let width = tile.width;
        for (i, four) in x.q.as_chunks::<4>().0.iter().enumerate() {
            tile.q[i * width + c] = *four;
        }
        for (g, d) in x.d.iter().enumerate() {
            tile.d[g * width + c] = *d;
        }
        for (g, group) in x.q.chunks_exact(F::GROUP).enumerate() {
            let mut sum = 0;
            for q in group {
                sum += i32::from(*q);
            }
            tile.bias[g * width + c] = -F::ZERO * sum;
            if F::HAS_MIN {
                tile.sums[g * width + c] = x.sums(F::GROUP)[g];
            }
        }
    }
}
