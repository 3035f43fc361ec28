//! The sizes of parts of a matrix product, which were chosen by measuring. Results do not depend on
//! them; speed does. Each says what was found, where that has been written down.

use crate::block::SubBlockSpec;
use crate::isa::{Isa, LANES};

/// Columns of quantized weights that are unpacked at a time: whole blocks of every format. A panel
/// of `MR` rows, 16 KB of integers with their scales, stays in the first cache while all tiles go
/// by.
pub(super) const KC: usize = 512;

/// Rows of quantized weights that are unpacked at a time. With AVX-512 a load for each
/// multiplication would be the limit: two vectors of 16 rows share each activation that is
/// broadcast. Other levels multiply one after the other, and activations are brought near once for
/// both.
pub(super) const MR: usize = 2 * LANES;

/// Rows of activations that a panel of weights is unpacked for, at most: whole tiles of every
/// level. Accumulators of a block wait in an array of their own. In the output matrix they would
/// lie a power of two apart, in a few sets of each cache, and come back from memory.
pub(super) const NC: usize = 528;

/// How many bytes ahead `gemv` asks for weights, where there is one tile: far enough for memory,
/// near enough to stay in the first cache. It asks for a few cache lines at a time: a burst for a
/// whole block of 256 columns fills the CPU's queue of misses and stalls it.
pub(super) const PREFETCH_BYTES: usize = 4096;

/// Up to how many rows of activations it is faster to unpack quantized weights once for each tile,
/// on their way from memory, than once for all.
pub(super) const fn gemv_max_rows<S: Isa, K: SubBlockSpec>() -> usize {
    // The more sub-blocks, and the more scales of each, the longer unpacking takes. Whole bytes are
    // hardly packed.
    let tiles = match (S::WEIGHT_VECTORS, K::LEN, K::HAS_MIN) {
        _ if K::BITS == 8 => 8,
        (1, 16, true) => 1,
        (1, 16, false) => 2,
        (2, 32, _) => 6,
        _ => 4,
    };
    tiles * S::NR
}

/// Columns of unquantized weights that are unpacked at a time, half of the accumulators after the
/// other: 16 KB of f32, to stay in the first cache.
pub(super) const PLAIN_KC: usize = 1024;

/// Rows of unquantized weights that are unpacked at a time, in four pairs. With as many as twelve
/// outputs in registers weights and activations are loaded as fast as they are multiplied.
pub(super) const PLAIN_MR: usize = 8;

/// Activations in a block of a product with unquantized weights, at most: 10 MB. All of them are
/// read again for each `PLAIN_MR` rows of weights; when they are more than a shared cache holds,
/// memory is the limit.
const PLAIN_NC_VALUES: usize = 10 << 18;

/// Rows of activations, `width` long, in a block of a product with unquantized weights, at most.
pub(super) const fn plain_nc(width: usize) -> usize {
    let rows = PLAIN_NC_VALUES / width;
    if rows < LANES {
        LANES
    } else if rows > NC {
        NC
    } else {
        rows
    }
}

/// Up to how many tiles it is faster to convert unquantized weights once for each tile, where they
/// lie in the file, than once for all.
pub(super) const PLAIN_GEMV_MAX_TILES: usize = 3;

/// How many activations `gemv` multiplies with all of its 16 rows of unquantized weights before the
/// next: they stay in the first cache. One row of activations reads row after row of weights, a row
/// ahead, at the memory's bandwidth; four rows at a time took 70 to 85 % of it, as they lie in the
/// file's pages of 4 KB, where the CPU guesses less of what comes next.
pub(super) const PLAIN_GEMV_VALUES: usize = 4096;
