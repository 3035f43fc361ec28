//! The x86-64 levels.

mod avx2;
mod avx512;
mod vnni;
mod ymm;

use crate::isa::{Isa, Kernel};
pub use avx2::Avx2;
pub use avx512::Avx512;
pub use vnni::{Avx512Vl, AvxVnni};

/// A level of this architecture that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    Avx2(Avx2),
    AvxVnni(AvxVnni),
    Avx512Vl(Avx512Vl),
    Avx512(Avx512),
}

impl Native {
    /// All that this machine has, slowest first.
    pub fn available() -> Vec<Self> {
        let levels = [
            Avx2::detect().map(Self::Avx2),
            AvxVnni::detect().map(Self::AvxVnni),
            Avx512Vl::detect().map(Self::Avx512Vl),
            Avx512::detect().map(Self::Avx512),
        ];
        levels.into_iter().flatten().collect()
    }

    /// The level's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx2(_) => "avx2",
            Self::AvxVnni(_) => "avxvnni",
            Self::Avx512Vl(_) => "avx512vl",
            Self::Avx512(_) => "avx512",
        }
    }

    /// Runs a kernel compiled for this level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Avx2(isa) => isa.run(kernel),
            Self::AvxVnni(isa) => isa.run(kernel),
            Self::Avx512Vl(isa) => isa.run(kernel),
            Self::Avx512(isa) => isa.run(kernel),
        }
    }
}
