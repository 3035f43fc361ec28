//! Sixteen rows of quantized weights side by side, one a lane, in no more bytes than the rows take.
//!
//! A *strip* is 16 rows; it holds, for each block of columns in ascending order:
//!
//! ```text
//! | d: 16 x f16 | dmin: 16 x f16, for formats with minima
//! | factors: [group][row], FACTOR_BITS each | factors of minima: likewise
//! | for each 32 columns, a cell: the integers [column / 4][row][column % 4], BITS each |
//! ```
//!
//! with factors and cells packed as [`planes`] are. The last strip is filled up with rows of zeros.

use super::int::Panel;
use super::planes;
use super::section::{SECTION, Section};
use crate::block::{IntFormat, MAX_GROUPS, Parts};
use crate::isa::{Isa, Kernel, LANES};
use std::marker::PhantomData;

/// Columns of a cell.
pub const CELL: usize = 32;
/// Bytes of a vector: four columns of each row.
pub const VECTOR: usize = 4 * LANES;
/// Vectors of a cell, unpacked.
const VECTORS: usize = CELL / 4;

/// Where the parts of a block of a strip begin.
struct Layout<F>(PhantomData<F>);

impl<F: IntFormat> Layout<F> {
    const GROUPS: usize = F::LEN / F::GROUP;
    const FACTOR_BYTES: usize = Self::GROUPS * LANES * F::FACTOR_BITS as usize / 8;
    const DMIN: usize = 2 * LANES;
    const FACTORS: usize = Self::DMIN + if F::HAS_MIN { 2 * LANES } else { 0 };
    const MIN_FACTORS: usize = Self::FACTORS + Self::FACTOR_BYTES;
    const CELLS: usize = Self::MIN_FACTORS + if F::HAS_MIN { Self::FACTOR_BYTES } else { 0 };
    const CELL_BYTES: usize = CELL * LANES * F::BITS as usize / 8;
    /// Bytes of the block: as many as in the rows.
    const BYTES: usize = {
        let bytes = Self::CELLS + F::LEN / CELL * Self::CELL_BYTES;
        assert!(bytes == LANES * F::BYTES);
        bytes
    };
    /// Bytes of a section of a strip.
    const SECTION_BYTES: usize = SECTION / F::LEN * Self::BYTES;
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
        let mut parts = Parts::ZERO;
        let (mut factors, mut min_factors) = ([0; MAX_GROUPS * LANES], [0; MAX_GROUPS * LANES]);
        let mut cells = [[0; VECTORS * VECTOR]; 8];
        let groups = Layout::<F>::GROUPS;
        for (b, block) in self.strip.chunks_exact_mut(Layout::<F>::BYTES).enumerate() {
            for l in 0..LANES {
                let row = self.rows.get(l * self.row_bytes..(l + 1) * self.row_bytes);
                match row {
                    Some(row) => F::split(&row[b * F::BYTES..(b + 1) * F::BYTES], &mut parts),
                    None => parts = Parts::ZERO,
                }
                block[2 * l..2 * l + 2].copy_from_slice(&parts.d.to_le_bytes());
                if F::HAS_MIN {
                    let at = Layout::<F>::DMIN + 2 * l;
                    block[at..at + 2].copy_from_slice(&parts.dmin.to_le_bytes());
                }
                for g in 0..groups {
                    factors[g * LANES + l] = parts.factor[g];
                    min_factors[g * LANES + l] = parts.min_factor[g];
                }
                let fours = cells.as_flattened_mut().as_chunks_mut::<4>().0;
                for (i, four) in parts.q[..F::LEN].as_chunks::<4>().0.iter().enumerate() {
                    fours[i * LANES + l] = *four;
                }
            }
            // Infinity and NaN have all bits of the exponent.
            for half in block[..Layout::<F>::FACTORS].as_chunks::<2>().0 {
                finite &= half[1] & 0x7c != 0x7c;
            }
            if F::FACTOR_BITS > 0 {
                let (factors, min_factors) = (&factors[..groups * LANES], &min_factors[..groups * LANES]);
                let at = Layout::<F>::FACTORS..Layout::<F>::MIN_FACTORS;
                planes::pack(F::FACTOR_BITS, factors, &mut block[at]);
                if F::HAS_MIN {
                    let at = Layout::<F>::MIN_FACTORS..Layout::<F>::CELLS;
                    planes::pack(F::FACTOR_BITS, min_factors, &mut block[at]);
                }
            }
            let packed = block[Layout::<F>::CELLS..].chunks_exact_mut(Layout::<F>::CELL_BYTES);
            for (cell, packed) in cells.iter().zip(packed) {
                planes::pack(F::BITS, cell, packed);
            }
        }
        finite
    }
}

/// The factors of a block, `[group][row]`.
pub(super) struct Factors {
    scale: [u8; MAX_GROUPS * LANES],
    min: [u8; MAX_GROUPS * LANES],
}

impl Factors {
    pub const ZERO: Self = Self {
        scale: [0; MAX_GROUPS * LANES],
        min: [0; MAX_GROUPS * LANES],
    };
}

/// One block of a strip.
pub(super) struct Block<'a, S: Isa, F> {
    bytes: &'a [u8],
    d: S::F,
    minus_dmin: S::F,
    factors: &'a Factors,
    format: PhantomData<F>,
}

impl<'a, S: Isa, F: IntFormat> Block<'a, S, F> {
    /// Bytes of a block.
    pub const BYTES: usize = Layout::<F>::BYTES;

    /// Looks at a block, `BYTES` long, and unpacks its factors.
    #[inline(always)]
    pub fn new(isa: S, bytes: &'a [u8], factors: &'a mut Factors) -> Self {
        if F::FACTOR_BITS > 0 {
            let used = Layout::<F>::GROUPS * LANES;
            let packed = &bytes[Layout::<F>::FACTORS..Layout::<F>::MIN_FACTORS];
            planes::unpack(F::FACTOR_BITS, packed, &mut factors.scale[..used]);
            if F::HAS_MIN {
                let packed = &bytes[Layout::<F>::MIN_FACTORS..Layout::<F>::CELLS];
                planes::unpack(F::FACTOR_BITS, packed, &mut factors.min[..used]);
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
            factors,
            format: PhantomData,
        }
    }

    /// Where the block's `cell`-th of as many equal parts as it has cells begins.
    #[inline(always)]
    pub fn part(&self, cell: usize) -> *const u8 {
        self.bytes[cell * (Self::BYTES / (F::LEN / CELL))..].as_ptr()
    }

    /// Integers of columns `32 cell + 4 v .. 32 cell + 4 v + 4` of each row, as they are stored.
    #[inline(always)]
    fn integers(&self, isa: S, cell: usize, v: usize) -> S::B {
        let first = Layout::<F>::CELLS + cell * Layout::<F>::CELL_BYTES;
        if F::BITS == 8 {
            return isa.load_bytes(array(self.bytes, first + v * VECTOR));
        }
        let low = planes::low_bits(F::BITS) as usize;
        let bytes = isa.load_bytes(array(self.bytes, first + v % low * VECTOR));
        let w = isa.field(bytes, (v / low * low) as i32, (1 << low) - 1);
        let high = F::BITS as usize - low;
        if high == 0 {
            return w;
        }
        let bytes = isa.load_bytes(array(self.bytes, first + (low + v % high) * VECTOR));
        let shift = (v / high * high) as i32 - low as i32;
        isa.or(w, isa.field(bytes, shift, ((1 << high) - 1) << low))
    }
}

impl<S: Isa, F: IntFormat> Panel<S> for Block<'_, S, F> {
    const GROUP: usize = F::GROUP;
    const WIDTH: u32 = F::WIDTH;
    const HAS_MIN: bool = F::HAS_MIN;

    /// `d * (factor - FACTOR_ZERO)`
    #[inline(always)]
    fn scale(&self, isa: S, g: usize) -> S::F {
        if F::FACTOR_BITS == 0 {
            return self.d;
        }
        let factor = isa.load_u8(array(&self.factors.scale, g * LANES));
        isa.mul(self.d, isa.add(factor, isa.splat(-f32::from(F::FACTOR_ZERO))))
    }

    /// `-(dmin * factor)`
    #[inline(always)]
    fn minus_min(&self, isa: S, g: usize) -> S::F {
        if F::FACTOR_BITS == 0 {
            return self.minus_dmin;
        }
        isa.mul(self.minus_dmin, isa.load_u8(array(&self.factors.min, g * LANES)))
    }

    #[inline(always)]
    fn vector(&self, isa: S, cell: usize, v: usize) -> S::B {
        let w = self.integers(isa, cell, v);
        match F::TABLE {
            None => w,
            Some(table) => isa.lookup(&table, w),
        }
    }
}

/// Unpacks the columns of a strip from `first` on to a section.
pub(super) struct Unpack<'a, F> {
    pub strip: &'a [u8],
    pub first: usize,
    pub section: &'a mut Section,
    pub format: PhantomData<F>,
}

impl<F: IntFormat> Kernel for Unpack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let section = self.section;
        let blocks = self.strip[self.first / F::LEN * Layout::<F>::BYTES..].chunks_exact(Layout::<F>::BYTES);
        let blocks = blocks.take(SECTION / F::LEN);
        section.first = self.first;
        section.width = blocks.len() * F::LEN;
        let mut factors = Factors::ZERO;
        for (b, bytes) in blocks.enumerate() {
            let block = Block::<S, F>::new(isa, bytes, &mut factors);
            for g in 0..F::LEN / F::GROUP {
                let at = b * (F::LEN / F::GROUP) + g;
                isa.store(block.scale(isa, g), &mut section.scale[at]);
                if F::HAS_MIN {
                    isa.store(block.minus_min(isa, g), &mut section.minus_min[at]);
                }
            }
            for cell in 0..F::LEN / CELL {
                // The strip's next section, while this one is multiplied.
                for line in (0..Block::<S, F>::BYTES / (F::LEN / CELL)).step_by(VECTOR) {
                    isa.prefetch(block.part(cell).wrapping_add(Layout::<F>::SECTION_BYTES + line));
                }
                let at = (b * F::LEN + cell * CELL) / 4;
                for v in 0..VECTORS {
                    isa.store_bytes(block.vector(isa, cell, v), section.vector_mut(at + v));
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
