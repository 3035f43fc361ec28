//! Quantized rows of activations side by side, as the panels of weights meet them.

use super::activations::{GROUP, QuantizedRow};
use super::cut::Cut;
use crate::block::{CODED_ZERO, CodedFormat, IntFormat};
use crate::isa::{Isa, Kernel, Level};
use rayon::prelude::*;

/// What weights of a format ask of the activations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// The unsigned integer that stands for 0.
    zero: i32,
    /// Values that share a scale: 16 or 32.
    pub group: usize,
    pub has_min: bool,
}

impl Needs {
    pub fn of_int<F: IntFormat>() -> Self {
        Self {
            zero: F::ZERO,
            group: F::GROUP,
            has_min: F::HAS_MIN,
        }
    }

    pub fn of_coded<F: CodedFormat>() -> Self {
        Self {
            zero: i32::from(CODED_ZERO),
            group: F::GROUP,
            has_min: false,
        }
    }
}

/// Rows of activations in tiles. In a tile neighbouring values belong to neighbouring rows: no stride between rows can fall
/// on the same cache line over and over.
#[derive(Default)]
pub(super) struct Tiles {
    /// `None` when there is nothing here.
    made_for: Option<Needs>,
    pub cut: Cut,
    /// The tiles of the cut.
    pub all: Vec<Tile>,
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
    /// `[values / group][width]`: what an unsigned product lacks, `-zero * sum(q)`; empty for formats with minima, which
    /// lack nothing.
    pub bias: Vec<i32>,
    /// `[values / group][width]`: `d * sum(q)`; empty for formats without minima.
    pub sums: Vec<f32>,
}

impl Tiles {
    /// Forgets the rows, and keeps the memory.
    pub fn clear(&mut self) {
        self.made_for = None;
    }

    /// Makes the tiles of `rows` rows for weights with these `needs`, each as wide as kernels of `level` go, unless they
    /// are there already.
    pub fn make<'x>(
        &mut self,
        level: Level,
        needs: Needs,
        rows: usize,
        row: impl Fn(usize) -> QuantizedRow<'x> + Sync,
    ) {
        let made_for = Some(needs);
        if self.made_for == made_for {
            return;
        }
        self.made_for = made_for;
        let cut = Cut::new(rows, level.columns());
        self.cut = cut;
        self.all.resize_with(cut.tiles(), Tile::default);
        self.all.par_iter_mut().enumerate().for_each(|(t, tile)| {
            (tile.first, tile.width) = (cut.start(t), cut.width(t));
            for c in 0..tile.width {
                let x = row(tile.first + c);
                tile.make_room(x.q.len(), needs);
                level.run(Lay { x, c, tile, needs });
            }
        });
    }
}

impl Tile {
    fn make_room(&mut self, values: usize, needs: Needs) {
        let groups = values / needs.group * self.width;
        self.q.resize(values / 4 * self.width, [0; 4]);
        self.d.resize(values / GROUP * self.width, 0.0);
        self.bias.resize(if needs.has_min { 0 } else { groups }, 0);
        self.sums.resize(if needs.has_min { groups } else { 0 }, 0.0);
    }
}

/// Lays a row of activations into column `c` of a tile.
struct Lay<'a> {
    x: QuantizedRow<'a>,
    c: usize,
    tile: &'a mut Tile,
    needs: Needs,
}

impl Kernel for Lay<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let Self { x, c, tile, needs } = self;
        let width = tile.width;
        for (i, four) in x.q.as_chunks::<4>().0.iter().enumerate() {
            tile.q[i * width + c] = *four;
        }
        for (g, d) in x.d.iter().enumerate() {
            tile.d[g * width + c] = *d;
        }
        if needs.group == GROUP {
            lay_sums::<GROUP>(x, c, tile, needs);
        } else {
            lay_sums::<16>(x, c, tile, needs);
        }
    }
}

/// What goes with each group of `G` integers.
#[inline(always)]
fn lay_sums<const G: usize>(x: QuantizedRow<'_>, c: usize, tile: &mut Tile, needs: Needs) {
    let width = tile.width;
    for (g, group) in x.q.as_chunks::<G>().0.iter().enumerate() {
        if needs.has_min {
            tile.sums[g * width + c] = x.sums(G)[g];
            continue;
        }
        let mut sum = 0;
        for q in group {
            sum += i32::from(*q);
        }
        tile.bias[g * width + c] = -needs.zero * sum;
    }
}
