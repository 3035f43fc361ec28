//! Instruction sets: what the kernels ask of a CPU, and which CPU features answer.
//!
//! Kernels see every machine as one with [`LANES`] = 16 logical lanes, whatever the width of its
//! registers. That is what makes results equal: 16 accumulators and their horizontal sum are the
//! same arithmetic in one AVX-512 register, two AVX2 ones, or an array walked by the scalar level,
//! which is the executable specification of the others.
//!
//! An [`Isa`] value is a token: its constructor has proved that the features are there, so kernels
//! need no `unsafe` of their own.

mod level;
mod operations;
mod scalar;

// Fuzz targets try readers, and build in a third of the time without the levels.
#[cfg_attr(
    all(target_arch = "aarch64", target_endian = "little", not(fuzzing)),
    path = "aarch64/mod.rs"
)]
#[cfg_attr(all(target_arch = "x86_64", not(fuzzing)), path = "x86_64/mod.rs")]
mod native;

pub use level::{Level, LevelError};
pub use operations::{Isa, Kernel, LANES};
pub use scalar::Scalar;
