//! Quantized products for many rows of activations: 16 rows of weights unpacked once, then multiplied by all.

use super::activations::{Activations, GROUP, QuantizedRow};
use crate::block::{IntFormat, Unpacked};
use crate::isa::{Isa, LANES};
use crate::threads::Strip;
use std::array::from_fn;
use std::cell::RefCell;

/// Rows of activations from which unpacking a panel pays.
pub(super) const WORTHWHILE: usize = 4;

thread_local! {
    /// Each thread unpacks into its own panel, which grows to the widest matrix seen.
    static PANEL: RefCell<Panel> = const { RefCell::new(Panel::new()) };
}

/// Computes the outputs of up to 16 rows of weights (`row(l)` are the blocks of row `l`) for all of `x`.
#[inline(always)]
pub(super) fn multiply<'w, S: Isa, F: IntFormat>(
    isa: S,
    row: impl Fn(usize) -> &'w [u8],
    x: &Activations,
    strip: &mut Strip<'_>,
) {
    PANEL.with_borrow_mut(|panel| {
        panel.unpack::<F>(row, strip.width(), x.width());
        let mut n = 0;
        while n + 4 <= x.len() {
            tile::<S, F, 4>(isa, panel, from_fn(|c| x.row(n + c)), |c, y| {
                strip_row(strip, n + c, y)
            });
            n += 4;
        }
        while n < x.len() {
            tile::<S, F, 1>(isa, panel, [x.row(n)], |_, y| strip_row(strip, n, y));
            n += 1;
        }
    });
}

#[inline(always)]
fn strip_row(strip: &mut Strip<'_>, n: usize, y: [f32; LANES]) {
    let width = strip.width();
    strip.row(n).copy_from_slice(&y[..width]);
}

/// 16 rows of weights side by side, so that each row has a lane.
struct Panel {
    /// `[width / 4][row][4]`: the four integers of a row that meet four neighbouring inputs.
    q: Vec<i8>,
    /// `[width / F::GROUP][row]`.
    scale: Vec<f32>,
    /// `[width / F::GROUP][row]`, when the format has minima: what multiplies the sums of activations.
    minus_min: Vec<f32>,
}

impl Panel {
    const fn new() -> Self {
        Self {
            q: Vec::new(),
            scale: Vec::new(),
            minus_min: Vec::new(),
        }
    }

    /// Unpacks `rows` rows of `width` values; missing rows are zero.
    #[inline(always)]
    fn unpack<'w, F: IntFormat>(&mut self, row: impl Fn(usize) -> &'w [u8], rows: usize, width: usize) {
        let groups = F::LEN / F::GROUP;
        self.q.resize(width * LANES, 0);
        self.scale.resize(width / F::GROUP * LANES, 0.0);
        self.minus_min.resize(width / F::GROUP * LANES, 0.0);
        let mut w = Unpacked::ZERO;
        for l in 0..LANES {
            for b in 0..width / F::LEN {
                if l < rows {
                    w.set::<F>(&row(l)[b * F::BYTES..][..F::BYTES]);
                } else {
                    w = Unpacked::ZERO;
                }
                let fours = self.q[b * F::LEN * LANES..].as_chunks_mut::<4>().0;
                for (i, four) in w.q[..F::LEN].as_chunks::<4>().0.iter().enumerate() {
                    fours[i * LANES + l] = *four;
                }
                for g in 0..groups {
                    self.scale[(b * groups + g) * LANES + l] = w.scale[g];
                    self.minus_min[(b * groups + g) * LANES + l] = -w.min[g];
                }
            }
        }
    }
}

/// The chain of [`super::int`], on 16 rows of weights and `N` rows of activations at a time.
#[inline(always)]
fn tile<S: Isa, F: IntFormat, const N: usize>(
    isa: S,
    panel: &Panel,
    x: [QuantizedRow<'_>; N],
    mut write: impl FnMut(usize, [f32; LANES]),
) {
    let (scales, _) = panel.scale.as_chunks::<LANES>();
    let (minus_mins, _) = panel.minus_min.as_chunks::<LANES>();
    let (weights, _) = panel.q.as_chunks::<{ 4 * LANES }>();
    let inputs: [&[[i8; 4]]; N] = from_fn(|c| x[c].q.as_chunks().0);
    let mut acc = [isa.splat(0.0); N];
    for (g, group) in weights.chunks_exact(F::GROUP / 4).enumerate() {
        let mut isum = [isa.zero(); N];
        for (i, w) in group.iter().enumerate() {
            let w = isa.load_bytes(w);
            for c in 0..N {
                isum[c] = isa.dot4(isum[c], w, inputs[c][g * F::GROUP / 4 + i]);
            }
        }
        let scale = isa.load(&scales[g]);
        for c in 0..N {
            let d = isa.splat(x[c].d[g * F::GROUP / GROUP]);
            acc[c] = isa.fma(isa.to_f32(isum[c]), isa.mul(scale, d), acc[c]);
        }
        if F::HAS_MIN {
            let minus_min = isa.load(&minus_mins[g]);
            for c in 0..N {
                acc[c] = isa.fma(minus_min, isa.splat(x[c].sums(F::GROUP)[g]), acc[c]);
            }
        }
    }
    for (c, acc) in acc.into_iter().enumerate() {
        let mut y = [0f32; LANES];
        isa.store(acc, &mut y);
        write(c, y);
    }
}
