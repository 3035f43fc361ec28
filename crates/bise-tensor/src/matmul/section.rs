//! Quantized weights for many rows of activations: unpacked 16 rows and some columns at a time.
//!
//! ```text
//! for each section of 512 columns
//!     unpack two strips of it, 16 rows each         once for all tiles, to stay in the first cache
//!     for each tile: go on with its chains          sums wait side by side, not where rows of outputs lie far apart
//! ```
//!
//! The chains are those of [`int`](super::int), and a sum is the same f32 in memory as in a register. What is unpacked
//! no longer shows which format it was: one kernel serves all whose groups are alike.

use super::at_width::TileKernel;
use super::int::{Inputs, Panel, links};
use super::interleaved::{CELL, VECTOR};
use super::tiles::Tile;
use crate::isa::{Isa, LANES};
use std::marker::PhantomData;

/// Columns that are unpacked at a time: whole blocks of every format.
pub(super) const SECTION: usize = 512;

/// Strips that are unpacked at a time: activations are brought near once for both.
pub(super) const STRIPS: usize = 2;

/// Rows of activations that a section is unpacked for, at most: whole tiles of every instruction set.
pub(super) const BLOCK: usize = 528;

/// The chains of some strips: `[strip][row of activations][row of the strip]`.
pub(super) type Sums = [[[f32; LANES]; BLOCK]; STRIPS];

/// Some columns of 16 rows, unpacked. No format has more groups than one for each 16 columns.
#[repr(align(64))]
pub(super) struct Section {
    /// `[column / 4][row][column % 4]`: unsigned integers.
    pub q: [[[u8; 4]; LANES]; SECTION / 4],
    /// `[group][row]`
    pub scale: [[f32; LANES]; SECTION / 16],
    /// `[group][row]`: negative minima, of formats that have them.
    pub minus_min: [[f32; LANES]; SECTION / 16],
    /// The first column.
    pub first: usize,
    /// Columns.
    pub width: usize,
}

impl Section {
    /// Without columns.
    pub const fn new() -> Self {
        Self {
            q: [[[0; 4]; LANES]; SECTION / 4],
            scale: [[0.0; LANES]; SECTION / 16],
            minus_min: [[0.0; LANES]; SECTION / 16],
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

/// What the groups of a format are like, as far as a kernel is concerned.
pub(super) trait Kind: Send + Sync {
    /// Values that share a scale.
    const GROUP: usize;
    /// Integers lie in `0..2^WIDTH`.
    const WIDTH: u32;
    /// Whether groups have a minimum.
    const HAS_MIN: bool;
}

/// A [`Kind`].
pub(super) struct Groups<const GROUP: usize, const WIDTH: u32, const HAS_MIN: bool>;

impl<const G: usize, const W: u32, const M: bool> Kind for Groups<G, W, M> {
    const GROUP: usize = G;
    const WIDTH: u32 = W;
    const HAS_MIN: bool = M;
}

/// Code to be compiled once for each kind of groups.
pub(super) trait OfKind {
    fn run<K: Kind>(self);
}

/// Runs the instance of `work` for a kind of groups that some format has.
pub(super) fn of_kind(group: usize, width: u32, has_min: bool, work: impl OfKind) {
    match (group, width, has_min) {
        (16, 2, true) => work.run::<Groups<16, 2, true>>(),
        (16, 3, false) => work.run::<Groups<16, 3, false>>(),
        (16, 6, false) => work.run::<Groups<16, 6, false>>(),
        (16, 7, false) => work.run::<Groups<16, 7, false>>(),
        (32, 4, false) => work.run::<Groups<32, 4, false>>(),
        (32, 4, true) => work.run::<Groups<32, 4, true>>(),
        (32, 5, false) => work.run::<Groups<32, 5, false>>(),
        (32, 5, true) => work.run::<Groups<32, 5, true>>(),
        (32, 7, false) => work.run::<Groups<32, 7, false>>(),
        (32, 8, false) => work.run::<Groups<32, 8, false>>(),
        (group, width, _) => unreachable!("groups of {group} integers of {width} bits"),
    }
}

/// A section whose groups are of kind `K`.
struct View<'a, K>(&'a Section, PhantomData<K>);

impl<S: Isa, K: Kind> Panel<S> for View<'_, K> {
    const GROUP: usize = K::GROUP;
    const WIDTH: u32 = K::WIDTH;
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
    fn vector(&self, isa: S, cell: usize, v: usize) -> S::B {
        isa.load_bytes(self.0.vector(cell * (CELL / 4) + v))
    }
}

/// Goes on with the chains of some strips' outputs for a tile.
pub(super) struct SectionTile<'a, K> {
    /// As many as there are strips.
    pub sections: &'a [Section],
    pub tile: &'a Tile,
    /// The tile that will be asked for after this one.
    pub next: &'a Tile,
    /// Where among the rows of the block the tile begins.
    pub at: usize,
    pub sums: &'a mut Sums,
    pub kind: PhantomData<K>,
}

impl<K: Kind> TileKernel for SectionTile<'_, K> {
    #[inline(always)]
    fn widest<S: Isa>() -> usize {
        S::COLUMNS
    }

    #[inline(always)]
    fn call<S: Isa, const N: usize>(self, isa: S) {
        for (i, (section, sums)) in self.sections.iter().zip(self.sums).enumerate() {
            let sums = sums[self.at..]
                .first_chunk_mut()
                .expect("as many rows as the tile");
            // What the first strip brings near is there for the others.
            let next = (i == 0).then_some(self.next);
            multiply::<S, K, N>(isa, section, self.tile, next, sums);
        }
    }
}

#[inline(always)]
fn multiply<S: Isa, K: Kind, const N: usize>(
    isa: S,
    w: &Section,
    t: &Tile,
    next: Option<&Tile>,
    sums: &mut [[f32; LANES]; N],
) {
    let x = Inputs::new(t);
    let mut acc = [isa.splat(0.0); N];
    if w.first > 0 {
        for c in 0..N {
            acc[c] = isa.load(&sums[c]);
        }
    }
    let view = View(w, PhantomData::<K>);
    for cell in 0..w.width / CELL {
        let at = w.first / CELL + cell;
        if let Some(next) = next {
            let ahead = next.q.as_ptr().wrapping_add(at * (CELL / 4) * next.width);
            for line in 0..(N * CELL).div_ceil(VECTOR) {
                isa.prefetch(ahead.cast::<u8>().wrapping_add(line * VECTOR));
            }
        }
        links(isa, &view, cell, &x, at, &mut acc);
    }
    for c in 0..N {
        isa.store(acc[c], &mut sums[c]);
    }
}
