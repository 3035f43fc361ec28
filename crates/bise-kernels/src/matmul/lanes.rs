//! The microkernel of the 16-lane levels for quantized weights.

use super::activations::Activations;
use super::at_width::{TileKernel, at_width};
use super::int::{Inputs, K_STEP, VECTOR, accumulate, store_partial};
use super::microkernel::Microkernel;
use super::packed::{PackedTile, Packing};
use super::tiling::{Run, Tiling, of_tile};
use super::tuning;
use super::weight_panel::{Accumulators, View, WORKSPACE, WeightPanel, Workspace};
use crate::block::SubBlockSpec;
use crate::isa::{Isa, LANES, Level};
use crate::threads::Strip;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

/// Quantized weights as they are stored, which know how they are unpacked.
pub(super) trait StoredWeights: Sync {
    /// The sub-blocks of their format.
    type SubBlocks: SubBlockSpec;

    /// Columns of the matrix.
    fn cols(&self) -> usize;
    /// Unpacks up to `KC` columns of up to 16 rows, from column `first` on.
    fn unpack(&self, level: Level, rows: Range<usize>, first: usize, panel: &mut WeightPanel);

    /// Whether there is a `gemv`.
    const HAS_GEMV: bool;
    /// Up to how many rows of activations `gemv` is faster.
    fn gemv_max_rows(&self, level: Level) -> usize;
    /// The outputs of up to 16 rows of weights from `first` on, for some tiles.
    fn gemv(&self, level: Level, first: usize, tiles: &[PackedTile], out: &mut Strip<'_>);
}

/// Products of quantized weights in 16 lanes.
pub(super) struct Int16Lanes<W> {
    pub level: Level,
    pub weights: W,
}

impl<W: StoredWeights> Microkernel for Int16Lanes<W> {
    const MR: usize = tuning::MR;
    const KC: usize = tuning::KC;
    type Workspace = Workspace;

    fn workspace() -> &'static LocalKey<RefCell<Box<Workspace>>> {
        &WORKSPACE
    }

    fn nr(&self) -> usize {
        self.level.nr()
    }

    fn nc(&self) -> usize {
        tuning::NC
    }

    fn panels(&self) -> usize {
        self.weights.cols().div_ceil(Self::KC)
    }

    fn pack_activations(&self, x: &mut Activations, tiling: Tiling) {
        x.pack(tiling, Packing::of::<W::SubBlocks>());
    }

    fn pack_weights(&self, rows: Range<usize>, panel: usize, work: &mut Workspace) {
        for (i, first) in rows.clone().step_by(LANES).enumerate() {
            let rows = first..rows.end.min(first + LANES);
            self.weights
                .unpack(self.level, rows, panel * Self::KC, &mut work.panels[i]);
        }
    }

    fn kernel(
        &self,
        x: &Activations,
        run: Run,
        panel: usize,
        work: &mut Workspace,
        out: &mut Strip<'_>,
    ) {
        let last = panel + 1 == self.panels();
        let kernel = PanelKernel {
            panels: &work.panels[..out.width().div_ceil(LANES)],
            tiles: &x.packed()[run.tiles],
            first_row: run.first_row,
            acc: &mut work.acc,
            out: last.then_some(out),
            sub_blocks: PhantomData::<W::SubBlocks>,
        };
        at_width(self.level, run.width, kernel);
    }

    const HAS_GEMV: bool = W::HAS_GEMV;

    fn gemv_max_rows(&self) -> usize {
        self.weights.gemv_max_rows(self.level)
    }

    fn gemv_nr(&self) -> usize {
        self.level.gemv_nr()
    }

    fn gemv(&self, first: usize, x: &Activations, out: &mut Strip<'_>) {
        self.weights.gemv(self.level, first, x.packed(), out);
    }
}

/// Adds the products of some panels, 16 rows each, with neighbouring tiles of one width.
struct PanelKernel<'a, 's, K> {
    panels: &'a [WeightPanel],
    tiles: &'a [PackedTile],
    /// The first row of activations of the accumulators.
    first_row: usize,
    acc: &'a mut Accumulators,
    /// Where outputs go that are finished with these panels.
    out: Option<&'a mut Strip<'s>>,
    sub_blocks: PhantomData<K>,
}

impl<K: SubBlockSpec> TileKernel for PanelKernel<'_, '_, K> {
    #[inline(always)]
    fn widest<S: Isa>() -> usize {
        S::NR
    }

    #[inline(always)]
    fn call<S: Isa, const N: usize>(mut self, isa: S) {
        for (t, tile) in self.tiles.iter().enumerate() {
            let next = self.tiles.get(t + 1).unwrap_or(tile);
            let at = tile.first - self.first_row;
            let mut out = self.out.as_deref_mut();
            match (self.panels, &mut *self.acc) {
                ([a, b], [acc_a, acc_b]) if S::WEIGHT_VECTORS == 2 => {
                    let acc = [of_tile(acc_a, at), of_tile(acc_b, at)];
                    let out = out.map(|out| (out, 0));
                    multiply::<S, K, 2, N>(isa, [a, b], tile, Some(next), acc, out);
                }
                (panels, acc) => {
                    for (i, (panel, acc)) in panels.iter().zip(acc).enumerate() {
                        // The first 16 rows bring near what the others find there.
                        let next = (i == 0).then_some(next);
                        let acc = [of_tile(acc, at)];
                        let out = out.as_deref_mut().map(|out| (out, i * LANES));
                        multiply::<S, K, 1, N>(isa, [panel], tile, next, acc, out);
                    }
                }
            }
        }
    }
}

/// Adds the products of `R` panels with a tile to its accumulators in memory, `kept`; after the
/// last panel they go to the columns of `out` from a first one on. Asks for the tile `next`.
#[inline(always)]
fn multiply<S: Isa, K: SubBlockSpec, const R: usize, const N: usize>(
    isa: S,
    panels: [&WeightPanel; R],
    t: &PackedTile,
    next: Option<&PackedTile>,
    kept: [&mut [[f32; LANES]; N]; R],
    out: Option<(&mut Strip<'_>, usize)>,
) {
    let x = Inputs::new(t);
    let (first, width) = (panels[0].first, panels[0].width);
    let mut acc = [[isa.splat(0.0); N]; R];
    if first > 0 {
        for r in 0..R {
            for c in 0..N {
                acc[r][c] = isa.load(&kept[r][c]);
            }
        }
    }
    let views = panels.map(|panel| View(panel, PhantomData::<K>));
    let weights = views.each_ref();
    for step in 0..width / K_STEP {
        let at = first / K_STEP + step;
        if let Some(next) = next {
            let ahead = next.q.as_ptr().wrapping_add(at * (K_STEP / 4) * next.width);
            for line in 0..(N * K_STEP).div_ceil(VECTOR) {
                isa.prefetch(ahead.cast::<u8>().wrapping_add(line * VECTOR));
            }
        }
        accumulate(isa, weights, step, &x, at, &mut acc);
    }
    let Some((out, column)) = out else {
        for r in 0..R {
            for c in 0..N {
                isa.store(acc[r][c], &mut kept[r][c]);
            }
        }
        return;
    };
    for c in 0..N {
        for r in 0..R {
            let out = &mut out.row(t.first + c)[column + r * LANES..];
            store_partial(isa, acc[r][c], out);
        }
    }
}
