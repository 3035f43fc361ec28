//! Matrix products `out[n, r] = sum over k of w[r, k] * x[n, k]`, one contract for every format.
//!
//! Each output is one chain of operations in a fixed order (see [`int`] and [`plain`]); how many rows or
//! columns are worked on at a time, on how many threads and with which instructions does not change a bit.

mod activations;
mod at_width;
mod coded;
mod cut;
pub mod int;
mod interleaved;
pub mod plain;
mod planes;
mod section;
mod tiles;
mod weights;

pub use activations::{Activations, GROUP};
pub use weights::Weights;

use crate::block::{CODED_BITS, CodedFormat, DType, FormatVisitor, IntFormat, PlainFormat};
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::tensor::RowOrder;
use crate::threads::{Strip, for_each_strip};
use at_width::{TileKernel, at_width};
use plain::panel::{self, PanelTiles, Trees};
use section::{Kind, OfKind, Room, SECTION, STRIPS, Section, SectionTiles, of_kind};
use std::marker::PhantomData;
use std::ops::Range;
use tiles::{Needs, Tile, Tiles};
use weights::Layout;

/// A row-major matrix of stored blocks, `rows` by `cols` values.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    data: &'a [u8],
    order: RowOrder,
}

impl<'a> Matrix<'a> {
    /// Looks at `data` as `rows` rows of `cols` values; `None` when that is not its size.
    pub fn new(dtype: DType, rows: usize, cols: usize, data: &'a [u8]) -> Option<Self> {
        let row = dtype.bytes_for(cols as u64)?;
        let fits = row.checked_mul(rows as u64) == Some(data.len() as u64);
        fits.then_some(Self {
            dtype,
            rows,
            cols,
            data,
            order: RowOrder::Same,
        })
    }

    /// The matrix whose rows come in `order`, which fits it.
    pub(crate) fn reordered(self, order: RowOrder) -> Self {
        Self { order, ..self }
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.data.len() / self.rows
    }

    /// The blocks of row `r`.
    #[inline]
    pub fn row(&self, r: usize) -> &'a [u8] {
        let (r, bytes) = (self.order.source_row(r), self.row_bytes());
        &self.data[r * bytes..(r + 1) * bytes]
    }

    /// Dequantizes row `r` to `out`, `cols` long.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        self.dtype.dequantize(self.row(r), out);
    }
}

/// `out[n, r] = w[r, :] . x[n, :]`, at the level of `x`, on the threads of the current pool.
///
/// # Panics
/// When `out` is not `x.len() * w.rows()` long, or the widths of `w` and `x` differ.
pub fn matmul(w: &Weights, x: &mut Activations, out: &mut [f32]) {
    assert_eq!(w.cols(), x.width(), "inputs of the weights, values of a row of x");
    assert_eq!(
        out.len(),
        w.rows() * x.len(),
        "outputs of the weights times rows of x"
    );
    let level = x.level();
    w.dtype().visit(Product { level, w, x, out });
}

/// A product, to be computed in strips of 16 outputs.
struct Product<'a> {
    level: Level,
    w: &'a Weights,
    x: &'a mut Activations,
    out: &'a mut [f32],
}

impl FormatVisitor for Product<'_> {
    type Output = ();

    fn plain<F: PlainFormat>(self) {
        let Layout::Rows(tensor) = &self.w.layout else {
            unreachable!("{} weights stay in rows", self.w.dtype());
        };
        let matrix = tensor.matrix();
        if self.x.len() > self.level.run(plain::Few) {
            return self.in_panels::<F>(matrix);
        }
        let Self { level, w, x, out } = self;
        for_each_strip(out, w.rows(), LANES, |first, strip| {
            level.run(PlainStrip {
                w: matrix,
                x,
                first,
                strip,
                format: PhantomData::<F>,
            });
        });
    }

    fn int<F: IntFormat>(self) {
        let Layout::Strips(strips) = &self.w.layout else {
            unreachable!("{} weights are interleaved", self.w.dtype());
        };
        let bytes = self.w.cols() / F::LEN * F::BYTES;
        let (level, needs) = (self.level, Needs::of_int::<F>());
        if self.x.len() > level.run(int::Few::<F>(PhantomData)) {
            return self.in_sections(needs, F::WIDTH, |row, _, first, section| {
                level.run(interleaved::Unpack {
                    strip: &strips[row * bytes..(row + LANES) * bytes],
                    first,
                    section,
                    format: PhantomData::<F>,
                });
            });
        }
        let tiles = &self.x.tiles(needs).all;
        for_each_strip(self.out, self.w.rows(), LANES, |first, mut strip| {
            let weights = &strips[first * bytes..(first + LANES) * bytes];
            for tile in tiles {
                let work = IntTile {
                    weights,
                    tile,
                    strip: &mut strip,
                    format: PhantomData::<F>,
                };
                at_width(level, tile.width, work);
            }
        });
    }

    fn coded<F: CodedFormat>(self) {
        let Layout::Rows(tensor) = &self.w.layout else {
            unreachable!("{} weights stay in rows", self.w.dtype());
        };
        let (bytes, row_bytes) = (tensor.bytes(), self.w.cols() / F::LEN * F::BYTES);
        let level = self.level;
        self.in_sections(Needs::of_coded::<F>(), CODED_BITS, |row, rows, first, section| {
            level.run(coded::Unpack {
                rows: &bytes[row * row_bytes..(row + rows) * row_bytes],
                row_bytes,
                first,
                section,
                format: PhantomData::<F>,
            });
        });
    }
}

impl Product<'_> {
    /// The product with unquantized weights, which are unpacked stretch by stretch for a block of rows of activations.
    fn in_panels<F: PlainFormat>(self, matrix: Matrix<'_>) {
        let Self { level, w, x, out } = self;
        let tiles = x.panel_tiles();
        for_each_strip(out, w.rows(), panel::ROWS, |first, mut strip| {
            panel::ROOM.with_borrow_mut(|(panel, sums)| {
                for block in tiles.cut.blocks(panel::block_rows(w.cols())) {
                    for (column, half) in panel::parts(w.cols()) {
                        level.run(panel::Unpack {
                            w: matrix,
                            row: first,
                            rows: strip.width(),
                            half,
                            first: column,
                            panel,
                            format: PhantomData::<F>,
                        });
                        for run in tiles.cut.runs(&block) {
                            let width = tiles.cut.width(run.start);
                            let work = PanelTiles {
                                panel,
                                tiles,
                                run,
                                first: tiles.cut.start(block.start),
                                sums,
                            };
                            at_width(level, width, work);
                        }
                    }
                    let strip = &mut strip;
                    level.run(Trees {
                        sums,
                        rows: tiles.cut.rows(&block),
                        strip,
                    });
                }
            });
        });
    }

    /// The product with quantized weights, which `unpack(row, rows, column, section)` unpacks section by section for all rows
    /// of activations; the integers lie in `0..2^bits`.
    fn in_sections(
        self,
        needs: Needs,
        bits: u32,
        unpack: impl Fn(usize, usize, usize, &mut Section) + Sync + Send,
    ) {
        let Self { level, w, x, out } = self;
        let tiles = x.tiles(needs);
        for_each_strip(out, w.rows(), STRIPS * LANES, |row, mut strips| {
            section::ROOM.with_borrow_mut(|room| {
                let Room { sections, sums } = &mut **room;
                let sections = &mut sections[..strips.width().div_ceil(LANES)];
                for block in tiles.cut.blocks(section::BLOCK) {
                    for first in (0..w.cols()).step_by(SECTION) {
                        for (i, section) in sections.iter_mut().enumerate() {
                            let rows = (strips.width() - i * LANES).min(LANES);
                            unpack(row + i * LANES, rows, first, section);
                        }
                        let work = SectionOutputs {
                            level,
                            sections,
                            tiles,
                            block: &block,
                            sums,
                            out: (first + SECTION >= w.cols()).then_some(&mut strips),
                        };
                        of_kind(needs.group, bits, needs.has_min, work);
                    }
                }
            });
        });
    }
}

/// The chains of some strips with a block of tiles, as far as a section goes.
struct SectionOutputs<'a, 's> {
    level: Level,
    sections: &'a [Section],
    tiles: &'a Tiles,
    block: &'a Range<usize>,
    sums: &'a mut section::Sums,
    /// Where the chains go when this is the last section.
    out: Option<&'a mut Strip<'s>>,
}

impl OfKind for SectionOutputs<'_, '_> {
    fn run<K: Kind>(mut self) {
        let cut = &self.tiles.cut;
        for run in cut.runs(self.block) {
            let width = cut.width(run.start);
            let work = SectionTiles {
                sections: self.sections,
                tiles: &self.tiles.all[run],
                first: cut.start(self.block.start),
                sums: &mut *self.sums,
                out: self.out.as_deref_mut(),
                kind: PhantomData::<K>,
            };
            at_width(self.level, width, work);
        }
    }
}

/// Up to 16 outputs of unquantized weights.
struct PlainStrip<'a, F> {
    w: Matrix<'a>,
    x: &'a Activations,
    first: usize,
    strip: Strip<'a>,
    format: PhantomData<F>,
}

impl<F: PlainFormat> Kernel for PlainStrip<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(mut self, isa: S) {
        plain::multiply::<S, F>(isa, self.w, self.first, self.x, &mut self.strip);
    }
}

/// Up to 16 outputs of quantized weights for a tile.
struct IntTile<'a, 's, F> {
    weights: &'a [u8],
    tile: &'a Tile,
    strip: &'a mut Strip<'s>,
    format: PhantomData<F>,
}

impl<F: IntFormat> TileKernel for IntTile<'_, '_, F> {
    #[inline(always)]
    fn widest<S: Isa>() -> usize {
        S::COLUMNS
    }

    #[inline(always)]
    fn call<S: Isa, const N: usize>(self, isa: S) {
        int::tile::<S, F, N>(isa, self.weights, self.tile, self.strip);
    }
}
