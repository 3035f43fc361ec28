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
use super::cut::of_tile;
use super::int::{Inputs, Panel, links, put};
use super::interleaved::{CELL, VECTOR};
use super::tiles::Tile;
use crate::isa::{Isa, LANES};
use crate::threads::Strip;
use std::cell::RefCell;
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

/// What a task works in.
pub(super) struct Room {
    pub sections: [Section; STRIPS],
    pub sums: Sums,
}

thread_local! {
    /// Where a thread works: every task finds what the last one left.
    pub(super) static ROOM: RefCell<Box<Room>> = RefCell::new(Box::new(Room {
        sections: [const { Section::new() }; STRIPS],
        sums: [[[0.0; LANES]; BLOCK]; STRIPS],
    }));
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

/// Goes on with the chains of some strips' outputs for neighbouring tiles of one width.
pub(super) struct SectionTiles<'a, 's, K> {
    /// As many as there are strips.
    pub sections: &'a [Section],
    pub tiles: &'a [Tile],
    /// The first row of activations that `sums` have.
    pub first: usize,
    pub sums: &'a mut Sums,
    /// Where the chains go that end in this section.
    pub out: Option<&'a mut Strip<'s>>,
    pub kind: PhantomData<K>,
}

impl<K: Kind> TileKernel for SectionTiles<'_, '_, K> {
    #[inline(always)]
    fn widest<S: Isa>() -> usize {
        S::COLUMNS
    }

    #[inline(always)]
    fn call<S: Isa, const N: usize>(mut self, isa: S) {
        for (t, tile) in self.tiles.iter().enumerate() {
            let next = self.tiles.get(t + 1).unwrap_or(tile);
            let at = tile.first - self.first;
            let mut out = self.out.as_deref_mut();
            match (self.sections, &mut *self.sums) {
                ([a, b], [sums_a, sums_b]) if S::STRIPS == 2 => {
                    let sums = [of_tile(sums_a, at), of_tile(sums_b, at)];
                    let out = out.map(|out| (out, 0));
                    multiply::<S, K, 2, N>(isa, [a, b], tile, Some(next), sums, out);
                }
                (sections, sums) => {
                    for (i, (section, sums)) in sections.iter().zip(sums).enumerate() {
                        // What the first strip brings near is there for the others.
                        let next = (i == 0).then_some(next);
                        let sums = [of_tile(sums, at)];
                        let out = out.as_deref_mut().map(|out| (out, i * LANES));
                        multiply::<S, K, 1, N>(isa, [section], tile, next, sums, out);
                    }
                }
            }
        }
    }
}

/// Goes on with the chains of `R` strips' outputs for a tile. They end in the columns of `out` from a first one on, or else wait
/// in `sums`.
#[inline(always)]
fn multiply<S: Isa, K: Kind, const R: usize, const N: usize>(
    isa: S,
    w: [&Section; R],
    t: &Tile,
    next: Option<&Tile>,
    sums: [&mut [[f32; LANES]; N]; R],
    out: Option<(&mut Strip<'_>, usize)>,
) {
    let x = Inputs::new(t);
    let (first, width) = (w[0].first, w[0].width);
    let mut acc = [[isa.splat(0.0); N]; R];
    if first > 0 {
        for r in 0..R {
            for c in 0..N {
                acc[r][c] = isa.load(&sums[r][c]);
            }
        }
    }
    let views = w.map(|section| View(section, PhantomData::<K>));
    let panels = views.each_ref();
    for cell in 0..width / CELL {
        let cell_of_row = first / CELL + cell;
        if let Some(next) = next {
            let ahead = next
                .q
                .as_ptr()
                .wrapping_add(cell_of_row * (CELL / 4) * next.width);
            for line in 0..(N * CELL).div_ceil(VECTOR) {
                isa.prefetch(ahead.cast::<u8>().wrapping_add(line * VECTOR));
            }
        }
        links(isa, panels, cell, &x, cell_of_row, &mut acc);
    }
    let Some((out, column)) = out else {
        for r in 0..R {
            for c in 0..N {
                isa.store(acc[r][c], &mut sums[r][c]);
            }
        }
        return;
    };
    for c in 0..N {
        for r in 0..R {
            put(isa, acc[r][c], &mut out.row(t.first + c)[column + r * LANES..]);
        }
    }
}
