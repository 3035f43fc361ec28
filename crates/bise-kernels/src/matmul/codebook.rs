//! Weights of a [`CodebookFormat`], unpacked from the file's rows to a [`WeightPanel`].

use super::int::VECTOR;
use super::lanes::StoredWeights;
use super::packed::PackedTile;
use super::tuning::KC;
use super::weight_panel::WeightPanel;
use crate::block::{CodebookFormat, Integers, MAX_SUB_BLOCKS};
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::threads::Strip;
use std::marker::PhantomData;
use std::ops::Range;

/// The weights of a [`CodebookFormat`], in the file's rows.
pub(super) struct CodebookRows<'a, F> {
    /// All rows.
    pub bytes: &'a [u8],
    pub cols: usize,
    pub format: PhantomData<F>,
}

impl<F: CodebookFormat> StoredWeights for CodebookRows<'_, F> {
    type SubBlocks = F::SubBlocks;

    fn cols(&self) -> usize {
        self.cols
    }

    fn unpack(&self, level: Level, rows: Range<usize>, first: usize, panel: &mut WeightPanel) {
        let row_bytes = self.cols / F::LEN * F::BYTES;
        level.run(Unpack {
            rows: &self.bytes[rows.start * row_bytes..rows.end * row_bytes],
            row_bytes,
            first,
            panel,
            format: self.format,
        });
    }

    /// Weights are unpacked to panels for one row of activations too. A new format costs a
    /// function, not a kernel for each tile width.
    const HAS_GEMV: bool = false;

    fn gemv_max_rows(&self, _: Level) -> usize {
        0
    }

    fn gemv(&self, _: Level, _: usize, _: &[PackedTile], _: &mut Strip<'_>) {
        unreachable!("there is no gemv");
    }
}

/// Unpacks the columns of some rows from `first` on, as many as a panel has.
struct Unpack<'a, F> {
    /// Up to 16 rows, each `row_bytes` long.
    rows: &'a [u8],
    row_bytes: usize,
    first: usize,
    panel: &'a mut WeightPanel,
    format: PhantomData<F>,
}

impl<F: CodebookFormat> Kernel for Unpack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let panel = self.panel;
        let columns = self.row_bytes / F::BYTES * F::LEN;
        (panel.first, panel.width) = (self.first, (columns - self.first).min(KC));
        let start = self.first / F::LEN * F::BYTES;
        let len = panel.width / F::LEN * F::BYTES;
        let mut scale = [0.0; MAX_SUB_BLOCKS];
        for (lane, row) in self.rows.chunks_exact(self.row_bytes).enumerate() {
            let row = &row[start..start + len];
            let blocks = panel.q.chunks_exact_mut(F::LEN / 4);
            let scales = panel.scale.chunks_exact_mut(F::LEN / F::SUB_BLOCK);
            for (block, (q, scales)) in row.chunks_exact(F::BYTES).zip(blocks.zip(scales)) {
                F::decode(block, &mut scale, &mut Lane { q, lane });
                for g in 0..F::LEN / F::SUB_BLOCK {
                    scales[g][lane % LANES] = scale[g];
                }
            }
            // The row's next panel, while the other rows of this one are unpacked.
            for line in (0..len).step_by(VECTOR) {
                isa.prefetch(row.as_ptr().wrapping_add(len + line));
            }
        }
    }
}

/// A row's place in a block of a panel.
struct Lane<'a> {
    q: &'a mut [[[u8; 4]; LANES]],
    lane: usize,
}

impl Integers for Lane<'_> {
    #[inline(always)]
    fn put(&mut self, i: usize, q: [u8; 8]) {
        let [a, b, c, d, e, f, g, h] = q;
        self.q[2 * i][self.lane % LANES] = [a, b, c, d];
        self.q[2 * i + 1][self.lane % LANES] = [e, f, g, h];
    }
}
