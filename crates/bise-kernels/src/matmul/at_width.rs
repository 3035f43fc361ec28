//! Kernels of tiles, compiled once for each width and each instruction set: one function of all
//! widths took minutes to compile.

use crate::isa::{Isa, Kernel, Level};

/// A computation for a tile of activations, `N` rows wide.
///
/// Implementations mark both functions `#[inline(always)]`, as those of [`Kernel`] do.
pub(super) trait TileKernel {
    /// The widest tile that there is at an instruction set. Wider ones are not made, and are not
    /// compiled.
    fn widest<S: Isa>() -> usize;
    /// The computation.
    fn call<S: Isa, const N: usize>(self, isa: S);
}

/// Runs the instance of `kernel` for `level` and a tile of `width` rows.
///
/// # Panics
/// When `width` is more than the widest tile at `level`: the tile was packed for another level.
pub(super) fn at_width(level: Level, width: usize, kernel: impl TileKernel) {
    match width {
        1 => level.run(AtWidth::<_, 1>(kernel)),
        2 => level.run(AtWidth::<_, 2>(kernel)),
        3 => level.run(AtWidth::<_, 3>(kernel)),
        4 => level.run(AtWidth::<_, 4>(kernel)),
        5 => level.run(AtWidth::<_, 5>(kernel)),
        6 => level.run(AtWidth::<_, 6>(kernel)),
        7 => level.run(AtWidth::<_, 7>(kernel)),
        8 => level.run(AtWidth::<_, 8>(kernel)),
        width => unreachable!("a tile of {width} rows"),
    }
}

/// A kernel at a width.
struct AtWidth<T, const N: usize>(T);

impl<T: TileKernel, const N: usize> Kernel for AtWidth<T, N> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        if N <= T::widest::<S>() {
            self.0.call::<S, N>(isa);
        } else {
            too_wide(N, T::widest::<S>());
        }
    }
}

/// Nothing would be multiplied, and outputs would stay as they were.
#[cold]
#[inline(never)]
fn too_wide(width: usize, widest: usize) -> ! {
    panic!("a tile of {width} rows, packed for another level: here the widest has {widest}")
}
