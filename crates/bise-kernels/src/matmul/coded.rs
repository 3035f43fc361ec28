//! Weights of a [`CodedFormat`], unpacked from the file's rows to a [`Section`].

use super::interleaved::VECTOR;
use super::section::{SECTION, Section};
use crate::block::{CodedFormat, Integers, MAX_GROUPS};
use crate::isa::{Isa, Kernel, LANES};
use std::marker::PhantomData;

/// Unpacks the columns of a section from `first` on.
pub(super) struct Unpack<'a, F> {
    /// Up to 16 rows, each `row_bytes` long.
    pub rows: &'a [u8],
    pub row_bytes: usize,
    pub first: usize,
    pub section: &'a mut Section,
    pub format: PhantomData<F>,
}

impl<F: CodedFormat> Kernel for Unpack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let section = self.section;
        let columns = self.row_bytes / F::BYTES * F::LEN;
        (section.first, section.width) = (self.first, (columns - self.first).min(SECTION));
        let (start, len) = (self.first / F::LEN * F::BYTES, section.width / F::LEN * F::BYTES);
        let mut scale = [0.0; MAX_GROUPS];
        for (lane, row) in self.rows.chunks_exact(self.row_bytes).enumerate() {
            let row = &row[start..start + len];
            let blocks = section.q.chunks_exact_mut(F::LEN / 4);
            let scales = section.scale.chunks_exact_mut(F::LEN / F::GROUP);
            for (block, (q, scales)) in row.chunks_exact(F::BYTES).zip(blocks.zip(scales)) {
                F::split(block, &mut scale, &mut Lane { q, lane });
                for g in 0..F::LEN / F::GROUP {
                    scales[g][lane % LANES] = scale[g];
                }
            }
            // The row's next section, while the other rows of this one are unpacked.
            for line in (0..len).step_by(VECTOR) {
                isa.prefetch(row.as_ptr().wrapping_add(len + line));
            }
        }
    }
}

/// A row's place in a block of a section.
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
