//! Sixteen rows of quantized weights side by side, one a lane, in no more bytes than the rows take.
//!
//! A *strip* is 16 rows; it holds, for each block of columns in ascending order:
//!
//! ```text
//! | d: 16 x f16 | dmin: 16 x f16, for formats with minima
//! | integer scales: [sub-block][row], SUB_SCALE_BITS each | integer minima: likewise
//! | for each 32 columns, a K step: the integers [column / 4][row][column % 4], BITS each |
//! ```
//!
//! with integer scales, minima and K steps packed as [`planes`] are. The last strip is filled up
//! with rows of zeros.

use super::at_width::{TileKernel, at_width};
use super::int::{Inputs, K_STEP, PackedWeights, VECTOR, accumulate, store_partial};
use super::lanes::StoredWeights;
use super::packed::PackedTile;
use super::planes;
use super::tuning::{self, KC, PREFETCH_BYTES};
use super::weight_panel::WeightPanel;
use crate::block::{IntFormat, MAX_SUB_BLOCKS, UnpackedBlock};
use crate::isa::{Isa, Kernel, LANES, Level};
use crate::threads::Strip;
use std::marker::PhantomData;
use std::ops::Range;

/// Vectors of a K step, unpacked.
const VECTORS: usize = K_STEP / 4;

/// Where the parts of a block of a strip begin.
struct Layout<F>(PhantomData<F>);

impl<F: IntFormat> Layout<F> {
    const SUB_BLOCKS: usize = F::LEN / F::SUB_BLOCK;
    const SUB_SCALE_BYTES: usize = Self::SUB_BLOCKS * LANES * F::SUB_SCALE_BITS as usize / 8;
    const DMIN: usize = 2 * LANES;
    const SUB_SCALES: usize = Self::DMIN + if F::HAS_MIN { 2 * LANES } else { 0 };
    const SUB_MINS: usize = Self::SUB_SCALES + Self::SUB_SCALE_BYTES;
    const STEPS: usize = Self::SUB_MINS + if F::HAS_MIN { Self::SUB_SCALE_BYTES } else { 0 };
    const STEP_BYTES: usize = K_STEP * LANES * F::BITS as usize / 8;
    /// Bytes of the block: as many as in the rows.
    const BYTES: usize = {
        let bytes = Self::STEPS + F::LEN / K_STEP * Self::STEP_BYTES;
        assert!(bytes == LANES * F::BYTES);
        bytes
    };
    /// Bytes of a panel's columns of a strip.
    const PANEL_BYTES: usize = KC / F::LEN * Self::BYTES;
}

/// Interleaves up to 16 rows of blocks; gives whether all scales are finite numbers.
pub(super) struct Interleave<'a, F> {
    /// The rows, each `row_bytes` long.
    pub rows: &'a [u8],
    pub row_bytes: usize,
    /// The strip: `16 * row_bytes` long.
    pub strip: &'a mut [u8],
    pub format: PhantomData<F>,
}

impl<F: IntFormat> Kernel for Interleave<'_, F> {
    type Output = bool;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> bool {
        let mut finite = true;
        let mut unpacked = UnpackedBlock::ZERO;
        let (mut sub_scales, mut sub_mins) =
            ([0; MAX_SUB_BLOCKS * LANES], [0; MAX_SUB_BLOCKS * LANES]);
        let mut steps = [[0; VECTORS * VECTOR]; 8];
        let sub_blocks = Layout::<F>::SUB_BLOCKS;
        for (b, block) in self.strip.chunks_exact_mut(Layout::<F>::BYTES).enumerate() {
            for l in 0..LANES {
                let row = self.rows.get(l * self.row_bytes..(l + 1) * self.row_bytes);
                match row {
                    Some(row) => F::unpack(&row[b * F::BYTES..(b + 1) * F::BYTES], &mut unpacked),
                    None => unpacked = UnpackedBlock::ZERO,
                }
                block[2 * l..2 * l + 2].copy_from_slice(&unpacked.d.to_le_bytes());
                if F::HAS_MIN {
                    let at = Layout::<F>::DMIN + 2 * l;
                    block[at..at + 2].copy_from_slice(&unpacked.dmin.to_le_bytes());
                }
                for g in 0..sub_blocks {
                    sub_scales[g * LANES + l] = unpacked.sub_scale[g];
                    sub_mins[g * LANES + l] = unpacked.sub_min[g];
                }
                let fours = steps.as_flattened_mut().as_chunks_mut::<4>().0;
                for (i, four) in unpacked.q[..F::LEN].as_chunks::<4>().0.iter().enumerate() {
                    fours[i * LANES + l] = *four;
                }
            }
            // Infinity and NaN have all bits of the exponent.
            for half in block[..Layout::<F>::SUB_SCALES].as_chunks::<2>().0 {
                finite &= half[1] & 0x7c != 0x7c;
            }
            if F::SUB_SCALE_BITS > 0 {
                let (sub_scales, sub_mins) =
                    (&sub_scales[..sub_blocks * LANES], &sub_mins[..sub_blocks * LANES]);
                let at = Layout::<F>::SUB_SCALES..Layout::<F>::SUB_MINS;
                planes::pack(F::SUB_SCALE_BITS, sub_scales, &mut block[at]);
                if F::HAS_MIN {
                    let at = Layout::<F>::SUB_MINS..Layout::<F>::STEPS;
                    planes::pack(F::SUB_SCALE_BITS, sub_mins, &mut block[at]);
                }
            }
            let packed = block[Layout::<F>::STEPS..].chunks_exact_mut(Layout::<F>::STEP_BYTES);
            for (step, packed) in steps.iter().zip(packed) {
                planes::pack(F::BITS, step, packed);
            }
        }
        finite
    }
}

/// The integer scales and minima of a block, `[sub-block][row]`.
pub(super) struct SubScales {
    scale: [u8; MAX_SUB_BLOCKS * LANES],
    min: [u8; MAX_SUB_BLOCKS * LANES],
}

impl SubScales {
    pub const ZERO: Self = Self {
        scale: [0; MAX_SUB_BLOCKS * LANES],
        min: [0; MAX_SUB_BLOCKS * LANES],
    };
}

/// One block of a strip.
pub(super) struct Block<'a, S: Isa, F> {
    bytes: &'a [u8],
    d: S::F,
    minus_dmin: S::F,
    sub_scales: &'a SubScales,
    format: PhantomData<F>,
}

impl<'a, S: Isa, F: IntFormat> Block<'a, S, F> {
    /// Bytes of a block.
    pub const BYTES: usize = Layout::<F>::BYTES;

    /// Looks at a block, `BYTES` long, and unpacks its integer scales and minima.
    #[inline(always)]
    pub fn new(isa: S, bytes: &'a [u8], sub_scales: &'a mut SubScales) -> Self {
        if F::SUB_SCALE_BITS > 0 {
            let used = Layout::<F>::SUB_BLOCKS * LANES;
            let packed = &bytes[Layout::<F>::SUB_SCALES..Layout::<F>::SUB_MINS];
            planes::unpack(F::SUB_SCALE_BITS, packed, &mut sub_scales.scale[..used]);
            if F::HAS_MIN {
                let packed = &bytes[Layout::<F>::SUB_MINS..Layout::<F>::STEPS];
                planes::unpack(F::SUB_SCALE_BITS, packed, &mut sub_scales.min[..used]);
            }
        }
        let d = isa.load_f16(array(bytes, 0));
        let minus_dmin = if F::HAS_MIN {
            isa.mul(isa.load_f16(array(bytes, Layout::<F>::DMIN)), isa.splat(-1.0))
        } else {
            isa.splat(0.0)
        };
        Self {
            bytes,
            d,
            minus_dmin,
            sub_scales,
            format: PhantomData,
        }
    }

    /// Where part `step` of the block begins, of as many equal ones as it has K steps.
    #[inline(always)]
    pub fn part(&self, step: usize) -> *const u8 {
        self.bytes[step * (Self::BYTES / (F::LEN / K_STEP))..].as_ptr()
    }

    /// Integers of columns `32 step + 4 v .. 32 step + 4 v + 4` of each row, as they are stored.
    #[inline(always)]
    fn integers(&self, isa: S, step: usize, v: usize) -> S::B {
        let first = Layout::<F>::STEPS + step * Layout::<F>::STEP_BYTES;
        if F::BITS == 8 {
            return isa.load_bytes(array(self.bytes, first + v * VECTOR));
        }
        let low = planes::low_bits(F::BITS) as usize;
        let bytes = isa.load_bytes(array(self.bytes, first + v % low * VECTOR));
        let w = isa.shift_mask(bytes, (v / low * low) as i32, (1 << low) - 1);
        let high = F::BITS as usize - low;
        if high == 0 {
            return w;
        }
        let bytes = isa.load_bytes(array(self.bytes, first + (low + v % high) * VECTOR));
        let shift = (v / high * high) as i32 - low as i32;
        isa.or(w, isa.shift_mask(bytes, shift, ((1 << high) - 1) << low))
    }
}

impl<S: Isa, F: IntFormat> PackedWeights<S> for Block<'_, S, F> {
    const SUB_BLOCK: usize = F::SUB_BLOCK;
    const BITS: u32 = F::WIDTH;
    const HAS_MIN: bool = F::HAS_MIN;

    /// `d * (sub_scale - SUB_SCALE_ZERO)`
    #[inline(always)]
    fn scale(&self, isa: S, g: usize) -> S::F {
        if F::SUB_SCALE_BITS == 0 {
            return self.d;
        }
        let sub_scale = isa.load_u8(array(&self.sub_scales.scale, g * LANES));
        isa.mul(
            self.d,
            isa.add(sub_scale, isa.splat(-f32::from(F::SUB_SCALE_ZERO))),
        )
    }

    /// `-(dmin * sub_min)`
    #[inline(always)]
    fn minus_min(&self, isa: S, g: usize) -> S::F {
        if F::SUB_SCALE_BITS == 0 {
            return self.minus_dmin;
        }
        isa.mul(
            self.minus_dmin,
            isa.load_u8(array(&self.sub_scales.min, g * LANES)),
        )
    }

    #[inline(always)]
    fn vector(&self, isa: S, step: usize, v: usize) -> S::B {
        let w = self.integers(isa, step, v);
        match F::TABLE {
            None => w,
            Some(table) => isa.lookup(&table, w),
        }
    }
}

/// The weights of an [`IntFormat`], interleaved.
pub(super) struct Interleaved<'a, F> {
    /// All strips.
    pub strips: &'a [u8],
    pub cols: usize,
    pub format: PhantomData<F>,
}

impl<'a, F: IntFormat> Interleaved<'a, F> {
    /// The strip of 16 rows from `first` on.
    fn strip(&self, first: usize) -> &'a [u8] {
        let row_bytes = self.cols / F::LEN * F::BYTES;
        &self.strips[first * row_bytes..(first + LANES) * row_bytes]
    }
}

impl<F: IntFormat> StoredWeights for Interleaved<'_, F> {
    type SubBlocks = F::SubBlocks;

    fn cols(&self) -> usize {
        self.cols
    }

    fn unpack(&self, level: Level, rows: Range<usize>, first: usize, panel: &mut WeightPanel) {
        level.run(Unpack {
            strip: self.strip(rows.start),
            first,
            panel,
            format: self.format,
        });
    }

    const HAS_GEMV: bool = true;

    fn gemv_max_rows(&self, level: Level) -> usize {
        level.run(GemvMaxRows(self.format))
    }

    fn gemv(&self, level: Level, first: usize, tiles: &[PackedTile], out: &mut Strip<'_>) {
        let strip = self.strip(first);
        for (turn, tile) in tiles.iter().enumerate() {
            let work = Gemv {
                strip,
                tile,
                turn,
                turns: tiles.len(),
                out,
                format: self.format,
            };
            at_width(level, tile.width, work);
        }
    }
}

/// [`tuning::gemv_max_rows`] of a level.
struct GemvMaxRows<F>(PhantomData<F>);

impl<F: IntFormat> Kernel for GemvMaxRows<F> {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> usize {
        tuning::gemv_max_rows::<S, F::SubBlocks>()
    }
}

/// The outputs of a strip for a tile, with the weights unpacked on their way from memory.
struct Gemv<'a, 's, F> {
    strip: &'a [u8],
    tile: &'a PackedTile,
    /// Which of the tiles it is.
    turn: usize,
    /// How many tiles there are: each asks for its share of the next strip, so that memory is never
    /// idle while others find the weights in a cache.
    turns: usize,
    out: &'a mut Strip<'s>,
    format: PhantomData<F>,
}

impl<F: IntFormat> TileKernel for Gemv<'_, '_, F> {
    #[inline(always)]
    fn widest<S: Isa>() -> usize {
        S::GEMV_NR
    }

    #[inline(always)]
    fn call<S: Isa, const N: usize>(self, isa: S) {
        let x = Inputs::new(self.tile);
        let mut others = self.turn;
        let mut sub_scales = SubScales::ZERO;
        let mut acc = [[isa.splat(0.0); N]];
        let blocks = self.strip.chunks_exact(Block::<S, F>::BYTES);
        for (b, bytes) in blocks.enumerate() {
            let block = Block::<S, F>::new(isa, bytes, &mut sub_scales);
            let steps = F::LEN / K_STEP;
            for step in 0..steps {
                if others == 0 {
                    for line in (0..Block::<S, F>::BYTES / steps).step_by(64) {
                        let at = block.part(step).wrapping_add(line);
                        match self.turns {
                            1 => isa.prefetch(at.wrapping_add(PREFETCH_BYTES)),
                            _ => isa.prefetch_second(at.wrapping_add(self.strip.len())),
                        }
                    }
                    others = self.turns;
                }
                others -= 1;
                accumulate(isa, [&block], step, &x, b * steps + step, &mut acc);
            }
        }
        for c in 0..N {
            store_partial(isa, acc[0][c], self.out.row(self.tile.first + c));
        }
    }
}

/// Unpacks the columns of a strip from `first` on, as many as a panel has.
struct Unpack<'a, F> {
    strip: &'a [u8],
    first: usize,
    panel: &'a mut WeightPanel,
    format: PhantomData<F>,
}

impl<F: IntFormat> Kernel for Unpack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let panel = self.panel;
        let blocks =
            self.strip[self.first / F::LEN * Layout::<F>::BYTES..].chunks_exact(Layout::<F>::BYTES);
        let blocks = blocks.take(KC / F::LEN);
        panel.first = self.first;
        panel.width = blocks.len() * F::LEN;
        let mut sub_scales = SubScales::ZERO;
        for (b, bytes) in blocks.enumerate() {
            let block = Block::<S, F>::new(isa, bytes, &mut sub_scales);
            for g in 0..F::LEN / F::SUB_BLOCK {
                let at = b * (F::LEN / F::SUB_BLOCK) + g;
                isa.store(block.scale(isa, g), &mut panel.scale[at]);
                if F::HAS_MIN {
                    isa.store(block.minus_min(isa, g), &mut panel.minus_min[at]);
                }
            }
            for step in 0..F::LEN / K_STEP {
                // The strip's next panel, while this one is multiplied.
                for line in (0..Block::<S, F>::BYTES / (F::LEN / K_STEP)).step_by(VECTOR) {
                    isa.prefetch(block.part(step).wrapping_add(Layout::<F>::PANEL_BYTES + line));
                }
                let at = (b * F::LEN + step * K_STEP) / 4;
                for v in 0..VECTORS {
                    isa.store_bytes(block.vector(isa, step, v), panel.vector_mut(at + v));
                }
            }
        }
    }
}

/// The `N` bytes at `at`.
#[inline(always)]
fn array<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..at + N].try_into().expect("as many bytes as were taken")
}
