//! Matrix products `out[n, r] = sum over k of w[r, k] * x[n, k]`, one contract for every format.
//!
//! Each output is one chain of operations in a fixed order (see [`int`] and [`plain`]); how many rows or
//! columns are worked on at a time, on how many threads and with which instructions does not change a bit.

mod activations;
pub mod int;
mod panel;
pub mod plain;

pub use activations::{Activations, GROUP};

use crate::block::{DType, FormatVisitor, IntFormat, PlainFormat};
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::threads::{Strip, for_each_strip};

/// A row-major matrix of stored blocks: the weights of a linear map from `cols` to `rows` values.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    data: &'a [u8],
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
        })
    }

    /// Outputs of the map.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of the map.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The blocks of row `r`.
    #[inline]
    pub fn row(&self, r: usize) -> &'a [u8] {
        let bytes = self.data.len() / self.rows;
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
pub fn matmul(level: Level, w: Matrix<'_>, x: &Activations, out: &mut [f32]) {
    assert_eq!(w.cols, x.width(), "inputs of the matrix, values of a row of x");
    assert_eq!(
        out.len(),
        w.rows * x.len(),
        "outputs of the matrix times rows of x"
    );
    for_each_strip(out, w.rows, LANES, |first, strip| {
        level.run(StripProduct { w, x, first, strip })
    });
}

/// The outputs of up to 16 neighbouring rows of the weights, for every row of `x`.
struct StripProduct<'a> {
    w: Matrix<'a>,
    x: &'a Activations,
    first: usize,
    strip: Strip<'a>,
}

impl Kernel for StripProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let dtype = self.w.dtype;
        dtype.visit(StripVisitor { isa, product: self });
    }
}

struct StripVisitor<'a, S> {
    isa: S,
    product: StripProduct<'a>,
}

impl<S: Isa> FormatVisitor for StripVisitor<'_, S> {
    type Output = ();

    #[inline(always)]
    fn plain<F: PlainFormat>(self) {
        let StripProduct {
            w,
            x,
            first,
            mut strip,
        } = self.product;
        for l in 0..strip.width() {
            plain::row::<S, F>(self.isa, w.row(first + l), x, |n, y| strip.row(n)[l] = y);
        }
    }

    #[inline(always)]
    fn int<F: IntFormat>(self) {
        let StripProduct {
            w,
            x,
            first,
            mut strip,
        } = self.product;
        if x.len() < panel::WORTHWHILE {
            for n in 0..x.len() {
                for l in 0..strip.width() {
                    strip.row(n)[l] = int::dot::<F>(w.row(first + l), x.row(n));
                }
            }
        } else {
            panel::multiply::<S, F>(self.isa, |l| w.row(first + l), x, &mut strip);
        }
    }
}
