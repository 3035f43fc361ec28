//! Matrix products `out[n, r] = sum over k of w[r, k] * x[n, k]`, one contract for every format.
//!
//! Each output is one chain of operations in a fixed order (see [`int`] and [`plain`]); how many rows or
//! columns are worked on at a time, on how many threads and with which instructions does not change a bit.

mod activations;
mod coded;
pub mod int;
mod interleaved;
pub mod plain;
mod planes;
mod tiles;
mod weights;

pub use activations::{Activations, GROUP};
pub use weights::Weights;

use crate::block::{CodedFormat, DType, FormatVisitor, IntFormat, PlainFormat};
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::tensor::RowOrder;
use crate::threads::{Strip, for_each_strip};
use coded::{CodedTile, SECTION, Section, Unpack};
use std::marker::PhantomData;
use tiles::{Needs, Tile};
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

/// `out[n, r] = w[r, :] . x[n, :]`, on the threads of the current pool.
///
/// # Panics
/// When `out` is not `x.len() * w.rows()` long, or the widths of `w` and `x` differ.
pub fn matmul(level: Level, w: &Weights, x: &mut Activations, out: &mut [f32]) {
    assert_eq!(w.cols(), x.width(), "inputs of the weights, values of a row of x");
    assert_eq!(
        out.len(),
        w.rows() * x.len(),
        "outputs of the weights times rows of x"
    );
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
        let Self { level, w, x, out } = self;
        let Layout::Rows(tensor) = &w.layout else {
            unreachable!("{} weights stay in rows", w.dtype());
        };
        let matrix = tensor.matrix();
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
        let Self { level, w, x, out } = self;
        let Layout::Strips(strips) = &w.layout else {
            unreachable!("{} weights are interleaved", w.dtype());
        };
        let tiles = x.tiles(level, Needs::of_int::<F>());
        let bytes = w.cols() / F::LEN * F::BYTES;
        for_each_strip(out, w.rows(), LANES, |first, mut strip| {
            let weights = &strips[first * bytes..(first + LANES) * bytes];
            for tile in tiles {
                let strip = &mut strip;
                let format = PhantomData::<F>;
                at_width(
                    tile.width,
                    IntOutputs {
                        level,
                        weights,
                        tile,
                        strip,
                        format,
                    },
                );
            }
        });
    }

    fn coded<F: CodedFormat>(self) {
        if F::GROUP == GROUP {
            self.coded_in_groups::<F, GROUP>();
        } else {
            self.coded_in_groups::<F, 16>();
        }
    }
}

impl Product<'_> {
    /// The product with coded weights whose groups have `G` values.
    fn coded_in_groups<F: CodedFormat, const G: usize>(self) {
        let Self { level, w, x, out } = self;
        let Layout::Rows(tensor) = &w.layout else {
            unreachable!("{} weights stay in rows", w.dtype());
        };
        let bytes = tensor.bytes();
        let row_bytes = w.cols() / F::LEN * F::BYTES;
        let tiles = x.tiles(level, Needs::of_coded::<F>());
        for_each_strip(out, w.rows(), LANES, |first, mut strip| {
            let mut section = Section::<G>::new();
            let rows = &bytes[first * row_bytes..(first + strip.width()) * row_bytes];
            for first in (0..w.cols()).step_by(SECTION) {
                level.run(Unpack {
                    rows,
                    row_bytes,
                    first,
                    section: &mut section,
                    format: PhantomData::<F>,
                });
                for tile in tiles {
                    let (section, strip) = (&section, &mut strip);
                    at_width(
                        tile.width,
                        CodedOutputs {
                            level,
                            section,
                            tile,
                            strip,
                        },
                    );
                }
            }
        });
    }
}

/// Code to be compiled once for each width of a tile.
trait OfWidth {
    fn run<const N: usize>(self);
}

/// Runs the instance of `work` for just this width.
fn at_width(width: usize, work: impl OfWidth) {
    match width {
        1 => work.run::<1>(),
        2 => work.run::<2>(),
        3 => work.run::<3>(),
        4 => work.run::<4>(),
        5 => work.run::<5>(),
        6 => work.run::<6>(),
        7 => work.run::<7>(),
        8 => work.run::<8>(),
        9 => work.run::<9>(),
        10 => work.run::<10>(),
        11 => work.run::<11>(),
        12 => work.run::<12>(),
        width => unreachable!("a tile of {width} rows"),
    }
}

/// The outputs of a strip of quantized weights for a tile.
struct IntOutputs<'a, 's, F> {
    level: Level,
    weights: &'a [u8],
    tile: &'a Tile,
    strip: &'a mut Strip<'s>,
    format: PhantomData<F>,
}

impl<F: IntFormat> OfWidth for IntOutputs<'_, '_, F> {
    fn run<const N: usize>(self) {
        let Self {
            weights,
            tile,
            strip,
            format,
            ..
        } = self;
        self.level.run(IntTile::<F, N> {
            weights,
            tile,
            strip,
            format,
        });
    }
}

/// The outputs of a strip of coded weights for a tile, as far as a section goes.
struct CodedOutputs<'a, 's, const G: usize> {
    level: Level,
    section: &'a Section<G>,
    tile: &'a Tile,
    strip: &'a mut Strip<'s>,
}

impl<const G: usize> OfWidth for CodedOutputs<'_, '_, G> {
    fn run<const N: usize>(self) {
        let Self {
            section, tile, strip, ..
        } = self;
        self.level.run(CodedTile::<G, N> { section, tile, strip });
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

/// Up to 16 outputs of quantized weights for `N` rows of activations.
struct IntTile<'a, 's, F, const N: usize> {
    weights: &'a [u8],
    tile: &'a Tile,
    strip: &'a mut Strip<'s>,
    format: PhantomData<F>,
}

impl<F: IntFormat, const N: usize> Kernel for IntTile<'_, '_, F, N> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        // Wider tiles are not made, and need not be compiled.
        if N <= S::COLUMNS {
            int::tile::<S, F, N>(isa, self.weights, self.tile, self.strip);
        }
    }
}
