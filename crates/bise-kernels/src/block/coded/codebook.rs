//! The codebooks of the IQ types: *grids* of magnitudes, and signs.
//!
//! Grids are facts of the file format that follow no rule. `grids.bin` has them in 16 bits an entry
//! (`tools/fixtures/codebooks.py` makes it and says how they lie); here they are unfolded to a byte
//! a value when the crate is compiled: value `k` of an entry is its `k`-th byte from the lowest.

use super::ZERO;

static PACKED: &[u8; 2 * (256 + 512 + 1024 + 256 + 512 + 2048)] = include_bytes!("grids.bin");

const MAGNITUDES_2: [u8; 8] = [8, 25, 43, 0, 0, 0, 0, 0];

/// Eight magnitudes an entry.
pub static IQ2_XXS: [u64; 256] = unfold(0, 2, MAGNITUDES_2);
/// Eight magnitudes an entry.
pub static IQ2_XS: [u64; 512] = unfold(256, 2, MAGNITUDES_2);
/// Eight magnitudes an entry.
pub static IQ2_S: [u64; 1024] = unfold(768, 2, MAGNITUDES_2);
/// Four magnitudes an entry.
pub static IQ3_XXS: [u64; 256] = unfold(1792, 4, [4, 12, 20, 28, 36, 44, 52, 62]);
/// Four magnitudes an entry.
pub static IQ3_S: [u64; 512] = unfold(2048, 4, [1, 3, 5, 7, 9, 11, 13, 15]);
/// Eight integers an entry, eight times -1, 0 or 1: of IQ1_S and IQ1_M.
pub static IQ1: [u64; 2048] = unfold(2560, 2, [ZERO - 8, ZERO, ZERO + 8, 0, 0, 0, 0, 0]);

/// The entries from the `first` on, each of numbers of `bits` bits that stand for `values`.
const fn unfold<const N: usize>(first: usize, bits: u32, values: [u8; 8]) -> [u64; N] {
    let mut grid = [0; N];
    let mut i = 0;
    while i < N {
        let at = 2 * (first + i);
        let packed = PACKED[at] as u16 | (PACKED[at + 1] as u16) << 8;
        let mut k = 0;
        while k < 16 / bits {
            let number = packed >> (bits * k) & ((1 << bits) - 1);
            grid[i] |= (values[number as usize] as u64) << (8 * k);
            k += 1;
        }
        i += 1;
    }
    grid
}

/// A byte of 63 for each bit of `signs`: what [`signed`] takes for a set of signs.
const fn flips(signs: u32) -> u64 {
    let (mut flips, mut k) = (0, 0);
    while k < 8 {
        flips |= ((signs >> k & 1) as u64 * 63) << (8 * k);
        k += 1;
    }
    flips
}

/// Eight signs, one a bit.
static SIGNS: [u64; 256] = {
    let (mut all, mut signs) = ([0; 256], 0);
    while signs < 256 {
        all[signs] = flips(signs as u32);
        signs += 1;
    }
    all
};

/// Seven signs, one a bit, and the eighth such that their number is even.
static EVEN_SIGNS: [u64; 128] = {
    let (mut all, mut signs) = ([0; 128], 0u32);
    while signs < 128 {
        all[signs as usize] = flips(signs | (signs.count_ones() & 1) << 7);
        signs += 1;
    }
    all
};

/// Eight integers of these `magnitudes`, all below 64, negative where a bit of `signs` is set.
#[inline(always)]
pub fn signed(magnitudes: u64, signs: u8) -> [u8; 8] {
    with_flips(magnitudes, SIGNS[usize::from(signs)])
}

/// The same by the low seven bits of `signs`; the eighth is negative where that makes an even
/// number of signs.
#[inline(always)]
pub fn signed_evenly(magnitudes: u64, signs: u32) -> [u8; 8] {
    with_flips(magnitudes, EVEN_SIGNS[(signs & 127) as usize])
}

/// `64 + m` of each byte `m`, and where `flips` is 63, `64 - m = (63 - m) + 1`: no byte carries
/// into the next.
#[inline(always)]
fn with_flips(magnitudes: u64, flips: u64) -> [u8; 8] {
    const ZEROS: u64 = u64::from_le_bytes([ZERO; 8]);
    ((magnitudes ^ flips) + (ZEROS - flips)).to_le_bytes()
}
