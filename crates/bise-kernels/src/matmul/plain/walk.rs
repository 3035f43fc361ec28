//! The scales that a walk along rows of weights meets.

use crate::block::PlainFormat;
use crate::isa::LANES;
use crate::matmul::matrix::Matrix;

/// The scales of `R` rows, for 16 columns after the other. Weights of a format without scales have
/// no use for it.
pub(super) struct Walk<'a, const R: usize> {
    /// All scales of each row.
    rows: [&'a [f32]; R],
    /// Those of the columns at hand, and which they are.
    now: [f32; R],
    place: usize,
    /// How many 16 columns they still hold for, and for how many the next will.
    left: usize,
    run: usize,
}

impl<'a, const R: usize> Walk<'a, R> {
    /// Begins at column `from`, a multiple of 16, of the rows `rows` of `w`.
    #[inline(always)]
    pub(super) fn new<F: PlainFormat>(w: Matrix<'a>, rows: [usize; R], from: usize) -> Self {
        let mut walk = Self {
            rows: [&[1.0]; R],
            now: [1.0; R],
            place: 0,
            left: usize::MAX,
            run: usize::MAX,
        };
        if !F::SCALED {
            return walk;
        }
        for i in 0..R {
            if let Some((scales, columns)) = w.row_scales(rows[i]) {
                walk.rows[i] = scales;
                // One scale holds for the whole row, however long.
                if scales.len() > 1 {
                    walk.run = columns / LANES;
                }
            }
        }
        let steps = from / LANES;
        walk.place = steps / walk.run;
        walk.left = walk.run - steps % walk.run;
        walk.look();
        walk
    }

    /// The scales of the next 16 columns.
    #[inline(always)]
    pub(super) fn step(&mut self) -> [f32; R] {
        if self.left == 0 {
            self.place += 1;
            self.left = self.run;
            self.look();
        }
        self.left -= 1;
        self.now
    }

    #[inline(always)]
    fn look(&mut self) {
        for i in 0..R {
            self.now[i] = self.rows[i][self.place];
        }
    }
}
