//! The seam of matrix products: what is done for one panel of weights, and the loops around it.
//!
//! ```text
//! gemv: for each 16 rows of weights, on all threads        few rows of activations
//!           gemv                                           unpacks weights on their way
//!
//! gemm: for each MR rows of weights, on all threads        many rows of activations
//!           for each block of up to NC rows of activations
//!               for each panel of KC columns
//!                   pack_weights                           once for the whole block
//!                   for each run of tiles of equal width
//!                       kernel                             MR x NR outputs at a time
//!               finish
//! ```
//!
//! Both loops are written here once. A [`Microkernel`] says how large the parts are and works on
//! one of them. Those of the 16-lane levels are [`Int16Lanes`](super::lanes::Int16Lanes) and
//! [`Plain16Lanes`](super::plain::Plain16Lanes). A machine that multiplies otherwise, in units for
//! whole tiles say, adds an implementation, a field of [`Activations`] for its packed rows, and an
//! arm where [`matmul`](super::matmul) chooses.

use super::activations::Activations;
use super::tiling::{Run, Tiling};
use crate::isa::LANES;
use crate::threads::{Strip, for_each_strip};
use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

/// The product of one weight matrix at one level, in parts that a thread works on at a time.
///
/// Every implementation adds up each output in the order that the numeric contract says, so that
/// all give the same bits.
pub(super) trait Microkernel: Sync {
    /// Rows of weights that a thread unpacks at a time.
    const MR: usize;
    /// Columns of weights that it unpacks at a time: whole blocks of every format.
    const KC: usize;
    /// What a thread works in: the unpacked panel, and the accumulators between two panels.
    type Workspace: 'static;

    /// The workspace of this thread, as the last product left it.
    fn workspace() -> &'static LocalKey<RefCell<Box<Self::Workspace>>>;
    /// Rows of activations in a tile, at most.
    fn nr(&self) -> usize;
    /// Rows of activations in a block, at most.
    fn nc(&self) -> usize;
    /// How many panels there are, one after the other.
    fn panels(&self) -> usize;
    /// Packs all rows of `x` as [`kernel`](Self::kernel) reads them, unless they are packed
    /// already.
    fn pack_activations(&self, x: &mut Activations, tiling: Tiling);
    /// Unpacks panel `panel` of some rows of weights, at most `MR`.
    fn pack_weights(&self, rows: Range<usize>, panel: usize, work: &mut Self::Workspace);
    /// Adds the products of the unpacked panel, number `panel`, with some tiles to their outputs,
    /// which are in the workspace until the last panel.
    fn kernel(
        &self,
        x: &Activations,
        run: Run,
        panel: usize,
        work: &mut Self::Workspace,
        out: &mut Strip<'_>,
    );
    /// Writes the outputs of a block, whose rows are `rows`, where `kernel` has not.
    fn finish(&self, _rows: Range<usize>, _work: &mut Self::Workspace, _out: &mut Strip<'_>) {}

    /// Whether there is a [`gemv`](Self::gemv): without, all products are gemms.
    const HAS_GEMV: bool;
    /// Up to how many rows of activations [`gemv`](Self::gemv) is faster.
    fn gemv_max_rows(&self) -> usize;
    /// Rows of activations in a tile of [`gemv`](Self::gemv), at most.
    fn gemv_nr(&self) -> usize {
        self.nr()
    }
    /// Packs all rows of `x` as [`gemv`](Self::gemv) reads them.
    fn pack_for_gemv(&self, x: &mut Activations, tiling: Tiling) {
        self.pack_activations(x, tiling);
    }
    /// The outputs of up to 16 rows of weights from `first` on, for all rows of `x`.
    fn gemv(&self, first: usize, x: &Activations, out: &mut Strip<'_>);
}

/// `out[n, r] = w[r, :] . x[n, :]` for the `rows` rows of weights that `w` multiplies.
pub(super) fn multiply<M: Microkernel>(w: &M, rows: usize, x: &mut Activations, out: &mut [f32]) {
    if M::HAS_GEMV && x.len() <= w.gemv_max_rows() {
        w.pack_for_gemv(x, Tiling::new(x.len(), w.gemv_nr()));
        gemv(w, rows, x, out);
    } else {
        let tiling = Tiling::new(x.len(), w.nr());
        w.pack_activations(x, tiling);
        gemm(w, rows, x, tiling, out);
    }
}

fn gemv<M: Microkernel>(w: &M, rows: usize, x: &Activations, out: &mut [f32]) {
    for_each_strip(out, rows, LANES, |first, mut strip| w.gemv(first, x, &mut strip));
}

fn gemm<M: Microkernel>(w: &M, rows: usize, x: &Activations, tiling: Tiling, out: &mut [f32]) {
    for_each_strip(out, rows, M::MR, |first, mut strip| {
        M::workspace().with_borrow_mut(|work| {
            for block in tiling.blocks(w.nc()) {
                for panel in 0..w.panels() {
                    w.pack_weights(first..first + strip.width(), panel, work);
                    for tiles in tiling.runs(&block) {
                        let run = Run {
                            width: tiling.width(tiles.start),
                            tiles,
                            first_row: tiling.start(block.start),
                        };
                        w.kernel(x, run, panel, work, &mut strip);
                    }
                }
                w.finish(tiling.rows(&block), work, &mut strip);
            }
        });
    });
}
