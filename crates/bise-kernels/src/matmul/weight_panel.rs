//! A panel of quantized weights: some columns of 16 rows, unpacked to bytes and f32 scales.
//!
//! What is unpacked no longer shows which format it was: one kernel serves all whose sub-blocks are
//! alike.

use super::int::{K_STEP, PackedWeights, VECTOR};
use super::tuning::{KC, MR, NC};
use crate::block::SubBlockSpec;
use crate::isa::{Isa, LANES};
use std::cell::RefCell;
use std::marker::PhantomData;

/// Vectors of 16 rows in a panel.
pub(super) const PANEL_VECTORS: usize = MR / LANES;

/// Up to [`KC`] columns of 16 rows, unpacked. No format has more sub-blocks than one for each 16
/// columns.
#[repr(align(64))]
pub(super) struct WeightPanel {
    /// `[column / 4][row][column % 4]`: unsigned integers.
    pub q: [[[u8; 4]; LANES]; KC / 4],
    /// `[sub-block][row]`
    pub scale: [[f32; LANES]; KC / 16],
    /// `[sub-block][row]`: negative minima, of formats that have them.
    pub minus_min: [[f32; LANES]; KC / 16],
    /// The first column.
    pub first: usize,
    /// Columns.
    pub width: usize,
}

impl WeightPanel {
    /// Without columns.
    pub const fn new() -> Self {
        Self {
            q: [[[0; 4]; LANES]; KC / 4],
            scale: [[0.0; LANES]; KC / 16],
            minus_min: [[0.0; LANES]; KC / 16],
            first: 0,
            width: 0,
        }
    }

    /// The integers of columns `4 v .. 4 v + 4`.
    #[inline(always)]
    pub fn vector(&self, v: usize) -> &[u8; VECTOR] {
        let bytes: &[u8] = self.q[v].as_flattened();
        bytes.try_into().expect("a vector")
    }

    /// The same, to be written.
    #[inline(always)]
    pub fn vector_mut(&mut self, v: usize) -> &mut [u8; VECTOR] {
        let bytes: &mut [u8] = self.q[v].as_flattened_mut();
        bytes.try_into().expect("a vector")
    }
}

/// Accumulators of some rows of weights: `[16 rows][row of activations][row of the 16]`.
pub(super) type Accumulators = [[[f32; LANES]; NC]; PANEL_VECTORS];

/// What a thread works in.
pub(super) struct Workspace {
    /// One for each 16 rows.
    pub panels: [WeightPanel; PANEL_VECTORS],
    pub acc: Accumulators,
}

thread_local! {
    /// The workspace of this thread: every task finds what the last one left.
    pub(super) static WORKSPACE: RefCell<Box<Workspace>> = RefCell::new(Box::new(Workspace {
        panels: [const { WeightPanel::new() }; PANEL_VECTORS],
        acc: [[[0.0; LANES]; NC]; PANEL_VECTORS],
    }));
}

/// A panel whose sub-blocks are `K`.
pub(super) struct View<'a, K>(pub &'a WeightPanel, pub PhantomData<K>);

impl<S: Isa, K: SubBlockSpec> PackedWeights<S> for View<'_, K> {
    const SUB_BLOCK: usize = K::LEN;
    const BITS: u32 = K::BITS;
    const HAS_MIN: bool = K::HAS_MIN;

    #[inline(always)]
    fn scale(&self, isa: S, g: usize) -> S::F {
        isa.load(&self.0.scale[g])
    }

    #[inline(always)]
    fn minus_min(&self, isa: S, g: usize) -> S::F {
        isa.load(&self.0.minus_min[g])
    }

    #[inline(always)]
    fn vector(&self, isa: S, step: usize, v: usize) -> S::B {
        isa.load_bytes(self.0.vector(step * (K_STEP / 4) + v))
    }
}
