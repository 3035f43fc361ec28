//! The product that everybody asks for: the format of the weights chooses the microkernel.

use super::activations::Activations;
use super::codebook::CodebookRows;
use super::interleaved::Interleaved;
use super::lanes::{Int16Lanes, StoredWeights};
use super::microkernel::multiply;
use super::plain::Plain16Lanes;
use super::weights::{Layout, Weights};
use crate::block::{CodebookFormat, FormatVisitor, IntFormat, PlainFormat};
use std::marker::PhantomData;

/// `out[n, r] = w[r, :] . x[n, :]`, at the level of `x`, on the threads of the current pool.
///
/// `x` is `[n, cols]` and `out` becomes `[n, rows]`, row after row. Rows of `x` are packed for the
/// kernels at the first product, and stay packed for those that follow with weights of the same
/// kind.
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
    w.dtype().visit(Product { w, x, out });
}

/// A product, for which the format of the weights chooses the microkernel.
struct Product<'a> {
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
        let weights = Plain16Lanes {
            level: self.x.level(),
            w: tensor.matrix(),
            format: PhantomData::<F>,
        };
        multiply(&weights, self.w.rows(), self.x, self.out);
    }

    fn int<F: IntFormat>(self) {
        let Layout::Strips(strips) = &self.w.layout else {
            unreachable!("{} weights are interleaved", self.w.dtype());
        };
        let weights = Interleaved {
            strips,
            cols: self.w.cols(),
            format: PhantomData::<F>,
        };
        self.quantized(weights);
    }

    fn codebook<F: CodebookFormat>(self) {
        let Layout::Rows(tensor) = &self.w.layout else {
            unreachable!("{} weights stay in rows", self.w.dtype());
        };
        let weights = CodebookRows {
            bytes: tensor.bytes(),
            cols: self.w.cols(),
            format: PhantomData::<F>,
        };
        self.quantized(weights);
    }
}

impl<'a> Product<'a> {
    /// Every level multiplies quantized weights in 16 lanes.
    fn quantized(self, weights: impl StoredWeights + 'a) {
        let level = self.x.level();
        multiply(&Int16Lanes { level, weights }, self.w.rows(), self.x, self.out);
    }
}
