//! Architectures with the scalar level only. (`isa/x86_64` and `isa/aarch64` take this module's
//! place on others.)

use crate::isa::Kernel;

/// A level of this architecture: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {}

impl Native {
    /// All that this machine has, slowest first.
    pub fn available() -> Vec<Self> {
        Vec::new()
    }

    /// The level's name.
    pub fn name(self) -> &'static str {
        match self {}
    }

    /// Runs a kernel compiled for this level.
    pub fn run<K: Kernel>(self, _: K) -> K::Output {
        match self {}
    }
}
