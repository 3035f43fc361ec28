//! The x86-64 levels.

mod avx2;

pub use avx2::Avx2;
