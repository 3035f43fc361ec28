//! Packed activations: quantized rows side by side, as they meet the vectors of weights.

use super::quantized::{GROUP, QuantizedRow};
use super::tiling::Tiling;
use crate::block::SubBlockSpec;
use crate::isa::{Isa, Kernel, Level};
use rayon::prelude::*;

/// Packing parameters: what weights ask of the activations besides their integers and scales.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Packing {
    /// The unsigned integer that stands for 0.
    zero: i32,
    /// Values that share a scale: 16 or 32.
    sub_block: usize,
    has_min: bool,
}

impl Packing {
    /// What sub-blocks `K` ask.
    pub fn of<K: SubBlockSpec>() -> Self {
        let () = K::CHECKED;
        Self {
            zero: K::ZERO,
            sub_block: K::LEN,
            has_min: K::HAS_MIN,
        }
    }
}

/// Rows of activations in tiles. In a tile neighbouring values belong to neighbouring rows: no
/// stride between rows can fall on the same cache line over and over.
#[derive(Default)]
pub(super) struct PackedActivations {
    /// `None` when there is nothing here.
    packed_for: Option<(Tiling, Packing)>,
    tiles: Vec<PackedTile>,
}

/// Some neighbouring rows of activations.
#[derive(Default)]
pub(super) struct PackedTile {
    /// The first row.
    pub first: usize,
    /// Rows.
    pub width: usize,
    /// `[values / 4][width]`: four neighbouring integers of each row.
    pub q: Vec<[i8; 4]>,
    /// `[values / 32][width]`: scales.
    pub d: Vec<f32>,
    /// `[values / sub-block][width]`: what an unsigned product lacks, `-zero * sum(q)`; empty for
    /// formats with minima, which lack nothing.
    pub bias: Vec<i32>,
    /// `[values / sub-block][width]`: `d * sum(q)`; empty for formats without minima.
    pub sums: Vec<f32>,
}

impl PackedActivations {
    /// Forgets the rows, and keeps the memory.
    pub fn clear(&mut self) {
        self.packed_for = None;
    }

    /// The tiles that were packed last.
    pub fn tiles(&self) -> &[PackedTile] {
        &self.tiles
    }

    /// Packs the rows of a tiling, unless they are packed already.
    pub fn pack<'x>(
        &mut self,
        level: Level,
        tiling: Tiling,
        packing: Packing,
        row: impl Fn(usize) -> QuantizedRow<'x> + Sync,
    ) {
        let packed_for = Some((tiling, packing));
        if self.packed_for == packed_for {
            return;
        }
        self.packed_for = packed_for;
        self.tiles.resize_with(tiling.tiles(), PackedTile::default);
        self.tiles.par_iter_mut().enumerate().for_each(|(t, tile)| {
            (tile.first, tile.width) = (tiling.start(t), tiling.width(t));
            for c in 0..tile.width {
                let x = row(tile.first + c);
                tile.resize(x.q.len(), packing);
                level.run(PackRow {
                    x,
                    c,
                    tile,
                    packing,
                });
            }
        });
    }
}

impl PackedTile {
    fn resize(&mut self, values: usize, packing: Packing) {
        let sub_blocks = values / packing.sub_block * self.width;
        self.q.resize(values / 4 * self.width, [0; 4]);
        self.d.resize(values / GROUP * self.width, 0.0);
        self.bias.resize(if packing.has_min { 0 } else { sub_blocks }, 0);
        self.sums
            .resize(if packing.has_min { sub_blocks } else { 0 }, 0.0);
    }
}

/// Packs a row of activations into column `c` of a tile.
struct PackRow<'a> {
    x: QuantizedRow<'a>,
    c: usize,
    tile: &'a mut PackedTile,
    packing: Packing,
}

impl Kernel for PackRow<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let Self {
            x,
            c,
            tile,
            packing,
        } = self;
        let width = tile.width;
        for (i, four) in x.q.as_chunks::<4>().0.iter().enumerate() {
            tile.q[i * width + c] = *four;
        }
        for (g, d) in x.d.iter().enumerate() {
            tile.d[g * width + c] = *d;
        }
        if packing.sub_block == GROUP {
            pack_sums::<GROUP>(x, c, tile, packing);
        } else {
            pack_sums::<16>(x, c, tile, packing);
        }
    }
}

/// What goes with each `LEN` integers.
#[inline(always)]
fn pack_sums<const LEN: usize>(
    x: QuantizedRow<'_>,
    c: usize,
    tile: &mut PackedTile,
    packing: Packing,
) {
    let width = tile.width;
    for (g, integers) in x.q.as_chunks::<LEN>().0.iter().enumerate() {
        if packing.has_min {
            tile.sums[g * width + c] = x.sums(LEN)[g];
            continue;
        }
        let mut sum = 0;
        for q in integers {
            sum += i32::from(*q);
        }
        tile.bias[g * width + c] = -packing.zero * sum;
    }
}
