//! How rows of activations are divided into tiles, and tiles into blocks.

use crate::isa::LANES;
use std::ops::Range;

/// Rows divided into tiles, as few as can be and all about as wide: the first ones may be one row
/// wider than the others.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tiling {
    rows: usize,
    tiles: usize,
}

impl Tiling {
    /// `rows` rows in tiles of at most `widest`.
    pub fn new(rows: usize, widest: usize) -> Self {
        Self {
            rows,
            tiles: rows.div_ceil(widest),
        }
    }

    /// Tiles.
    pub fn tiles(&self) -> usize {
        self.tiles
    }

    /// The first row of tile `t`, and for the last one's successor the end.
    pub fn start(&self, t: usize) -> usize {
        t * (self.rows / self.tiles) + t.min(self.rows % self.tiles)
    }

    /// Rows of tile `t`.
    pub fn width(&self, t: usize) -> usize {
        self.start(t + 1) - self.start(t)
    }

    /// The rows in some neighbouring tiles.
    pub fn rows(&self, tiles: &Range<usize>) -> Range<usize> {
        self.start(tiles.start)..self.start(tiles.end)
    }

    /// All tiles in blocks, as few as can be and all about as long, of at most `rows` rows.
    pub fn blocks(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let widest = if self.tiles == 0 { 1 } else { self.width(0) };
        let blocks = Self::new(self.tiles, rows / widest);
        (0..blocks.tiles).map(move |b| blocks.start(b)..blocks.start(b + 1))
    }

    /// The tiles of a block that are as wide as the first, and the others.
    pub fn runs(&self, block: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let narrower = (self.rows % self.tiles).clamp(block.start, block.end);
        let runs = [block.start..narrower, narrower..block.end];
        runs.into_iter().filter(|run| !run.is_empty())
    }
}

/// Neighbouring tiles of a block that are equally wide.
pub(crate) struct Run {
    /// The tiles, counted from the first row of activations on.
    pub tiles: Range<usize>,
    /// Rows of activations of each.
    pub width: usize,
    /// The block's first row of activations: accumulators in the workspace count from here.
    pub first_row: usize,
}

/// The accumulators of the `N` rows of a tile, of which `at` is the first, among those of a block.
#[inline(always)]
pub(crate) fn of_tile<const N: usize>(
    block: &mut [[f32; LANES]],
    at: usize,
) -> &mut [[f32; LANES]; N] {
    block[at..].first_chunk_mut().expect("as many rows as the tile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_tile_of_one_run_of_one_block() {
        for (rows, widest, block_rows) in [
            (1, 6, 12),
            (7, 6, 12),
            (13, 3, 7),
            (512, 6, 264),
            (529, 6, 528),
            (1000, 4, 264),
        ] {
            let tiling = Tiling::new(rows, widest);
            let mut next = 0;
            for block in tiling.blocks(block_rows) {
                assert!(tiling.rows(&block).len() <= block_rows);
                for run in tiling.runs(&block) {
                    for t in run.clone() {
                        assert_eq!(
                            (tiling.start(t), tiling.width(t)),
                            (next, tiling.width(run.start))
                        );
                        assert!((1..=widest).contains(&tiling.width(t)));
                        next += tiling.width(t);
                    }
                }
            }
            assert_eq!(next, rows);
        }
    }
}
