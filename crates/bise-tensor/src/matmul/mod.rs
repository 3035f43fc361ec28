//! Matrix products `out[n, r] = sum over k of w[r, k] * x[n, k]`, one contract for every format.
//!
//! Each output is one chain of operations in a fixed order (see [`int`] and [`plain`]); how many rows or
//! columns are worked on at a time, on how many threads and with which instructions does not change a bit.

mod activations;
pub mod int;
mod interleaved;
pub mod plain;
mod planes;
mod tiles;
mod weights;

pub use activations::{Activations, GROUP};
pub use weights::Weights;

use crate::block::{DType, FormatVisitor, IntFormat, PlainFormat};
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::tensor::RowOrder;
use crate::threads::{Strip, for_each_strip};
use std::marker::PhantomData;
use tiles::Tile;
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
        let tiles = x.tiles::<F>(level);
        let bytes = w.cols() / F::LEN * F::BYTES;
        for_each_strip(out, w.rows(), LANES, |first, mut strip| {
            let weights = &strips[first * bytes..(first + LANES) * bytes];
            for tile in tiles {
                multiply::<F>(level, weights, tile, &mut strip);
            }
        });
    }
}

/// The outputs of a strip of quantized weights for a tile, with a kernel of just its width.
fn multiply<F: IntFormat>(level: Level, weights: &[u8], tile: &Tile, strip: &mut Strip<'_>) {
    match tile.width {
        1 => run::<F, 1>(level, weights, tile, strip),
        2 => run::<F, 2>(level, weights, tile, strip),
        3 => run::<F, 3>(level, weights, tile, strip),
        4 => run::<F, 4>(level, weights, tile, strip),
        5 => run::<F, 5>(level, weights, tile, strip),
        6 => run::<F, 6>(level, weights, tile, strip),
        7 => run::<F, 7>(level, weights, tile, strip),
        8 => run::<F, 8>(level, weights, tile, strip),
        9 => run::<F, 9>(level, weights, tile, strip),
        10 => run::<F, 10>(level, weights, tile, strip),
        11 => run::<F, 11>(level, weights, tile, strip),
        12 => run::<F, 12>(level, weights, tile, strip),
        width => unreachable!("a tile of {width} rows"),
    }
}

fn run<F: IntFormat, const N: usize>(level: Level, weights: &[u8], tile: &Tile, strip: &mut Strip<'_>) {
    level.run(IntTile::<F, N> {
        weights,
        tile,
        strip,
        format: PhantomData,
    });
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
