//! Scales and levels for super-blocks of 256 values, what the K formats share, and for single
//! blocks of 32.
//!
//! A super-block stores `x = d * scale[g] * q[i] - dmin * min[g]`, small integers but for `d` and
//! `dmin`. The search looks for the least weighted squared error in three steps:
//!
//! 1. *Fit.* Each sub-block alone finds a real scale and minimum: candidates give levels, and levels give the
//!    best scale and minimum in closed form (least squares).
//! 2. *Grid.* `d` and `dmin` follow from the largest scale and minimum. Each sub-block then tries the stored
//!    integers around its own scale and minimum, with levels picked anew for each.
//! 3. *Refit.* With all integers fixed, the best `d` and `dmin` are least squares again; back to 2, while the
//!    error falls.
//!
//! Candidates lie in [`LANES`](crate::isa::LANES) lanes and loops walk the values. So every sum has
//! one order, and the same values give the same bytes on every machine.

mod affine;
pub(super) mod nonlinear;
mod scheme;
mod single;
mod symmetric;
mod values;

pub(super) use values::SuperBlock;

use affine::AffineScheme;
use half::f16;
use nonlinear::NonlinearScheme;
use scheme::Scheme;
use symmetric::SymmetricScheme;
use values::{Values, ZERO};

/// Levels `0..=levels`, scales and minima `0..=steps`, for sub-blocks of `G`.
#[inline(always)]
pub(super) fn affine<const G: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    levels: u8,
    steps: u8,
) -> SuperBlock {
    let (levels, steps) = (f32::from(levels), f32::from(steps));
    search::<G>(x, importance, AffineScheme { levels, steps })
}

/// Levels `-levels..levels`, scales `-steps..steps`, no minima, for sub-blocks of 16.
#[inline(always)]
pub(super) fn symmetric(
    x: &[f32],
    importance: Option<&[f32]>,
    levels: u8,
    steps: u8,
) -> SuperBlock {
    let (levels, steps) = (f32::from(levels), f32::from(steps));
    search::<16>(x, importance, SymmetricScheme { levels, steps })
}

/// Levels of the table in [`nonlinear`], scales `-steps..steps`, no minima, for sub-blocks of 32.
#[inline(always)]
pub(super) fn nonlinear(x: &[f32], importance: Option<&[f32]>, steps: u8) -> SuperBlock {
    let steps = f32::from(steps);
    search::<32>(x, importance, NonlinearScheme { steps })
}

/// The scale and the levels of the same table for 32 values: `x = d * level`.
#[inline(always)]
pub(super) fn one_scale(x: &[f32], importance: Option<&[f32]>) -> (f16, [i8; 32]) {
    match Values::new(x, importance) {
        Some(values) => values.one_scale(NonlinearScheme { steps: 1.0 }),
        None => (f16::ZERO, [0; 32]),
    }
}

/// The scale and the levels `-levels..levels` of 32 values: `x = d * q`.
#[inline(always)]
pub(super) fn symmetric_block(x: &[f32], importance: &[f32], levels: u8) -> (f16, [i8; 32]) {
    let levels = f32::from(levels);
    match Values::new(x, Some(importance)) {
        Some(values) => values.one_scale(SymmetricScheme { levels, steps: 1.0 }),
        None => (f16::ZERO, [0; 32]),
    }
}

/// The scale, the minimum, of either sign, and the levels `0..=levels` of 32 values:
/// `x = d * q - m`.
#[inline(always)]
pub(super) fn affine_block(x: &[f32], importance: &[f32], levels: u8) -> (f16, f16, [i8; 32]) {
    let levels = f32::from(levels);
    match Values::new(x, Some(importance)) {
        Some(values) => values.scale_and_min(AffineScheme { levels, steps: 1.0 }),
        None => (f16::ZERO, f16::ZERO, [0; 32]),
    }
}

#[inline(always)]
fn search<const G: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    scheme: impl Scheme<G>,
) -> SuperBlock {
    match Values::new(x, importance) {
        Some(values) => values.search(scheme),
        None => ZERO,
    }
}
