//! Weights of a [`CodedFormat`]: unpacked 16 rows and some columns at a time, and multiplied by a kernel that all such
//! formats share.
//!
//! ```text
//! for each section of 1024 columns
//!     unpack 16 rows of it, one a lane              once for all tiles, to stay in the first cache
//!     for each tile: go on with its chains          the sums of a chain wait in the output
//! ```
//!
//! The chains are those of [`int`](super::int), and a sum is the same f32 in the output as in a register.

use super::int::{Inputs, Panel, links};
use super::interleaved::{CELL, VECTOR};
use super::tiles::Tile;
use crate::block::{CODED_BITS, CodedFormat, Integers, MAX_GROUPS};
use crate::isa::{Isa, Kernel, LANES};
use crate::threads::Strip;
use std::marker::PhantomData;

/// Columns that are unpacked at a time: whole blocks of every format.
pub(super) const SECTION: usize = 1024;

/// Some columns of 16 rows, unpacked, in groups of `G`.
#[repr(align(64))]
pub(super) struct Section<const G: usize> {
    /// `[column / 4][row][column % 4]`
    q: [[[u8; 4]; LANES]; SECTION / 4],
    /// `[group][row]`; no format has more groups than one for each 16 columns.
    scale: [[f32; LANES]; SECTION / 16],
    /// The first column.
    first: usize,
    /// Columns.
    width: usize,
}

impl<const G: usize> Section<G> {
    /// Without columns.
    pub fn new() -> Self {
        Self {
            q: [[[0; 4]; LANES]; SECTION / 4],
            scale: [[0.0; LANES]; SECTION / 16],
            first: 0,
            width: 0,
        }
    }
}

impl<S: Isa, const G: usize> Panel<S> for Section<G> {
    const GROUP: usize = G;
    const WIDTH: u32 = CODED_BITS;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn scale(&self, isa: S, g: usize) -> S::F {
        isa.load(&self.scale[g])
    }

    #[inline(always)]
    fn minus_min(&self, isa: S, _: usize) -> S::F {
        isa.splat(0.0)
    }

    #[inline(always)]
    fn vector(&self, isa: S, cell: usize, v: usize) -> S::B {
        let bytes: &[u8] = self.q[cell * (CELL / 4) + v].as_flattened();
        isa.load_bytes(bytes.try_into().expect("a vector"))
    }
}

/// Unpacks the columns of a section from `first` on.
pub(super) struct Unpack<'a, F, const G: usize> {
    /// Up to 16 rows, each `row_bytes` long.
    pub rows: &'a [u8],
    pub row_bytes: usize,
    pub first: usize,
    pub section: &'a mut Section<G>,
    pub format: PhantomData<F>,
}

impl<F: CodedFormat, const G: usize> Kernel for Unpack<'_, F, G> {
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
            let scales = section.scale.chunks_exact_mut(F::LEN / G);
            for (block, (q, scales)) in row.chunks_exact(F::BYTES).zip(blocks.zip(scales)) {
                F::split(block, &mut scale, &mut Lane { q, lane });
                for g in 0..F::LEN / G {
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

/// Goes on with the chains of a strip's outputs for the `N` rows of activations of a tile.
pub(super) struct CodedTile<'a, 's, const G: usize, const N: usize> {
    pub section: &'a Section<G>,
    pub tile: &'a Tile,
    pub strip: &'a mut Strip<'s>,
}

impl<const G: usize, const N: usize> Kernel for CodedTile<'_, '_, G, N> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        // Wider tiles are not made, and need not be compiled.
        if N <= S::COLUMNS {
            multiply::<S, G, N>(isa, self.section, self.tile, self.strip);
        }
    }
}

#[inline(always)]
fn multiply<S: Isa, const G: usize, const N: usize>(isa: S, w: &Section<G>, t: &Tile, out: &mut Strip<'_>) {
    let x = Inputs::new(t);
    let width = out.width();
    let mut acc = [isa.splat(0.0); N];
    if w.first > 0 {
        for c in 0..N {
            let mut y = [0f32; LANES];
            y[..width].copy_from_slice(out.row(t.first + c));
            acc[c] = isa.load(&y);
        }
    }
    for cell in 0..w.width / CELL {
        links(isa, w, cell, &x, w.first / CELL + cell, &mut acc);
    }
    for c in 0..N {
        let mut y = [0f32; LANES];
        isa.store(acc[c], &mut y);
        out.row(t.first + c).copy_from_slice(&y[..width]);
    }
}
