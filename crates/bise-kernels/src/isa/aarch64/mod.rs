//! The AArch64 levels.

mod multiply;
mod neon;

use crate::isa::{Isa, Kernel};
use multiply::{Dotprod, I8mm, Smull};

/// A level of this architecture that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    Smull(Smull),
    Dotprod(Dotprod),
    I8mm(I8mm),
}

impl Native {
    /// All that this machine has, slowest first.
    pub fn available() -> Vec<Self> {
        let levels = [
            Smull::detect().map(Self::Smull),
            Dotprod::detect().map(Self::Dotprod),
            I8mm::detect().map(Self::I8mm),
        ];
        levels.into_iter().flatten().collect()
    }

    /// The level's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smull(_) => "neon",
            Self::Dotprod(_) => "dotprod",
            Self::I8mm(_) => "i8mm",
        }
    }

    /// Runs a kernel compiled for this level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Smull(isa) => isa.run(kernel),
            Self::Dotprod(isa) => isa.run(kernel),
            Self::I8mm(isa) => isa.run(kernel),
        }
    }
}
