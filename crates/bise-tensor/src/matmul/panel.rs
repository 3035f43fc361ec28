//! Quantized products for many rows of activations: 16 rows of weights unpacked once, then multiplied by all.

use super::activations::GROUP;
use super::tiles::Tile;
use crate::block::{IntFormat, Unpacked};
use crate::isa::{Isa, LANES};
use crate::threads::Strip;
use std::cell::RefCell;

/// Rows of activations from which unpacking a panel pays.
pub(super) const WORTHWHILE: usize = 4;

thread_local! {
    /// Each thread unpacks into its own panel, which grows to the widest matrix seen.
    static PANEL: RefCell<Panel> = RefCell::default();
}

/// Computes the outputs of up to 16 rows of weights (`row(l)` are the blocks of row `l`) for all tiles.
#[inline(always)]
pub(super) fn multiply<'w, S: Isa, F: IntFormat>(
    isa: S,
    row: impl Fn(usize) -> &'w [u8],
    width: usize,
    tiles: &[Tile],
    strip: &mut Strip<'_>,
) {
    // Taken, not borrowed: code in a closure would not be compiled with the features of `isa`.
    let mut panel = PANEL.take();
    panel.unpack::<F>(row, strip.width(), width);
    for t in tiles {
        match t.width {
            1 => tile::<S, F, 1>(isa, &panel, t, strip),
            2 => tile::<S, F, 2>(isa, &panel, t, strip),
            4 => tile::<S, F, 4>(isa, &panel, t, strip),
            8 => tile::<S, F, 8>(isa, &panel, t, strip),
            12 => tile::<S, F, 12>(isa, &panel, t, strip),
            width => unreachable!("a tile of {width} rows"),
        }
    }
    PANEL.set(panel);
}

/// 16 rows of weights side by side, so that each row has a lane.
#[derive(Default)]
struct Panel {
    /// `[width / 4][row][4]`: the four integers of a row that meet four neighbouring inputs, unsigned.
    q: Vec<u8>,
    /// `[width / F::GROUP][row]`.
    scale: Vec<f32>,
    /// `[width / F::GROUP][row]`, when the format has minima: what multiplies the sums of activations.
    minus_min: Vec<f32>,
}

impl Panel {
    /// Unpacks `rows` rows of `width` values; missing rows are zero.
    #[inline(always)]
    fn unpack<'w, F: IntFormat>(&mut self, row: impl Fn(usize) -> &'w [u8], rows: usize, width: usize) {
        let groups = F::LEN / F::GROUP;
        self.q.resize(width * LANES, 0);
        self.scale.resize(width / F::GROUP * LANES, 0.0);
        if F::HAS_MIN {
            self.minus_min.resize(width / F::GROUP * LANES, 0.0);
        }
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
                    fours[i * LANES + l] = four.map(|q| (i32::from(q) + F::ZERO) as u8);
                }
                for g in 0..groups {
                    self.scale[(b * groups + g) * LANES + l] = w.scale[g];
                    if F::HAS_MIN {
                        self.minus_min[(b * groups + g) * LANES + l] = -w.min[g];
                    }
                }
            }
        }
    }
}

/// The chain of [`super::int`], on 16 rows of weights and `N` rows of activations at a time.
#[inline(always)]
fn tile<S: Isa, F: IntFormat, const N: usize>(isa: S, panel: &Panel, t: &Tile, strip: &mut Strip<'_>) {
    let quads = F::GROUP / 4;
    let (scales, minus_mins) = (
        panel.scale.as_chunks::<LANES>().0,
        panel.minus_min.as_chunks::<LANES>().0,
    );
    let weights = panel.q.as_chunks::<{ 4 * LANES }>().0.chunks_exact(quads);
    let inputs = t.q.as_chunks::<N>().0.chunks_exact(quads);
    let (d, bias, sums) = (
        t.d.as_chunks::<N>().0,
        t.bias.as_chunks::<N>().0,
        t.sums.as_chunks::<N>().0,
    );
    let centred = F::BITS == 8 && S::CENTERS_BYTES;
    let mut acc = [isa.splat(0.0); N];
    for (g, (weights, inputs)) in weights.zip(inputs).enumerate() {
        let mut isum = [isa.splat_int(0); N];
        if !centred {
            for c in 0..N {
                isum[c] = isa.splat_int(bias[g][c]);
            }
        }
        let part = quads.min(S::capacity(F::BITS));
        for (weights, inputs) in weights.chunks_exact(part).zip(inputs.chunks_exact(part)) {
            let mut sum = [isa.begin(); N];
            for (w, x) in weights.iter().zip(inputs) {
                let w = isa.load_bytes(w);
                for c in 0..N {
                    sum[c] = isa.dot(sum[c], w, x[c], F::BITS);
                }
            }
            for c in 0..N {
                isum[c] = isa.add_int(isum[c], isa.end(sum[c], F::BITS));
            }
        }
        let scale = isa.load(&scales[g]);
        for c in 0..N {
            let d = isa.splat(d[g * F::GROUP / GROUP][c]);
            acc[c] = isa.fma(isa.to_f32(isum[c]), isa.mul(scale, d), acc[c]);
        }
        if F::HAS_MIN {
            let minus_min = isa.load(&minus_mins[g]);
            for c in 0..N {
                acc[c] = isa.fma(minus_min, isa.splat(sums[g][c]), acc[c]);
            }
        }
    }
    for (c, acc) in acc.into_iter().enumerate().take(t.len) {
        let mut y = [0f32; LANES];
        isa.store(acc, &mut y);
        let width = strip.width();
        strip.row(t.first + c).copy_from_slice(&y[..width]);
    }
}
