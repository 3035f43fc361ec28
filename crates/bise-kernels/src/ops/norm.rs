//! Root-mean-square normalisation (Zhang and Sennrich, arXiv 1910.07467).

use crate::isa::{Isa, Kernel, LANES, Level};

/// `out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]`, for one row; NaN when the sum of squares is
/// infinite.
///
/// # Panics
/// When the lengths differ.
pub fn rms_norm(level: Level, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == out.len() && x.len() == weight.len());
    level.run(RmsNorm {
        x,
        weight,
        eps,
        out,
    });
}

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let mean = sum_of_squares(isa, self.x) / self.x.len() as f32;
        let scale = 1.0 / (mean + self.eps).sqrt();
        // All but the infinite values would become 0.
        let scale = if mean == f32::INFINITY { f32::NAN } else { scale };
        for ((out, x), weight) in self.out.iter_mut().zip(self.x).zip(self.weight) {
            *out = x * scale * weight;
        }
    }
}

/// 16 chains and a tree, as in [`crate::matmul::plain`].
#[inline(always)]
fn sum_of_squares<S: Isa>(isa: S, x: &[f32]) -> f32 {
    let (sixteens, rest) = x.as_chunks::<LANES>();
    let mut acc = isa.splat(0.0);
    for x in sixteens {
        let x = isa.load(x);
        acc = isa.fma(x, x, acc);
    }
    let mut last = [0f32; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let last = isa.load(&last);
    isa.reduce_sum(isa.fma(last, last, acc))
}
