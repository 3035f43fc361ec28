//! TQ1_0: 256 values of -1, 0 or 1 in 54 bytes, `x = d * (t - 1)`.
//!
//! ```text
//! | qs: 48 bytes; for n < 5, digit n of byte i is t of value 32n + i for the first 32 bytes,
//! |     and of value 160 + 16n + i - 32 for the others
//! | qh: 4 bytes; for n < 4, digit n of byte i is t of value 240 + 4n + i
//! | d: f16 |
//! ```
//!
//! A byte `b` stands for the fraction `b / 256`, whose ternary digits behind the point are the
//! digits, first one first.

use super::{BITS, CodebookFormat, Integers, ZERO, put_all};
use crate::block::{MAX_SUB_BLOCKS, Symmetric, read_f16};

/// Ternary digits, five to a byte, one f16 scale for 256.
pub struct TQ1_0;

impl CodebookFormat for TQ1_0 {
    type SubBlocks = Symmetric<32, BITS>;

    const LEN: usize = 256;
    const BYTES: usize = 54;
    const U16_FIELDS: &'static [usize] = &[52];

    #[inline(always)]
    fn decode(block: &[u8], scale: &mut [f32; MAX_SUB_BLOCKS], q: &mut impl Integers) {
        *scale = [read_f16(block, 52).to_f32(); MAX_SUB_BLOCKS];
        let mut all = [0; 256];
        digits::<32>(&block[..32], &mut all[..160]);
        digits::<16>(&block[32..48], &mut all[160..240]);
        digits::<4>(&block[48..52], &mut all[240..]);
        put_all(q, 0, &all);
    }
}

/// Digit after digit of `N` bytes, as integers.
#[inline(always)]
fn digits<const N: usize>(bytes: &[u8], q: &mut [u8]) {
    let mut rest = [0; N];
    rest.copy_from_slice(bytes);
    for q in q.chunks_exact_mut(N) {
        for i in 0..N {
            let three = 3 * u16::from(rest[i]);
            q[i] = ZERO - 1 + (three >> 8) as u8;
            rest[i] = three as u8;
        }
    }
}

const _: () = assert!(TQ1_0::BYTES == 48 + 4 + 2 && 48 * 5 + 4 * 4 == TQ1_0::LEN);
