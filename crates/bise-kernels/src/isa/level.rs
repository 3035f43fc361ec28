//! Which of the instruction sets a kernel is run with.

use super::native::Native;
use super::operations::{Isa, Kernel};
use super::scalar::Scalar;
use std::fmt;
use std::str::FromStr;

/// An instruction set that this machine has, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar(Scalar),
    Native(Native),
}

impl Level {
    /// The level that every machine has, and that all others equal bit for bit.
    pub const SCALAR: Level = Level(Kind::Scalar(Scalar));

    /// The fastest level that this machine has.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::SCALAR)
    }

    /// All levels that this machine has, slowest first.
    pub fn available() -> Vec<Self> {
        let native = Native::available()
            .into_iter()
            .map(|level| Self(Kind::Native(level)));
        std::iter::once(Self::SCALAR).chain(native).collect()
    }

    /// The level's name, as [`Level::from_str`] reads it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar(_) => "scalar",
            Kind::Native(level) => level.name(),
        }
    }

    /// [`Isa::NR`] of this level.
    pub fn nr(self) -> usize {
        self.run(Widths).0
    }

    /// [`Isa::GEMV_NR`] of this level.
    pub fn gemv_nr(self) -> usize {
        self.run(Widths).1
    }

    /// Runs a kernel compiled for this level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Scalar(isa) => isa.run(kernel),
            Kind::Native(level) => level.run(kernel),
        }
    }
}

/// [`Isa::NR`] and [`Isa::GEMV_NR`].
struct Widths;

impl Kernel for Widths {
    type Output = (usize, usize);

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> (usize, usize) {
        (S::NR, S::GEMV_NR)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A level that is unknown, or that this machine does not have.
#[derive(Debug, thiserror::Error)]
#[error("no instruction set '{name}' here; this machine has: {available}")]
pub struct LevelError {
    name: String,
    available: String,
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(name: &str) -> Result<Self, LevelError> {
        let levels = Self::available();
        let found = levels.iter().find(|l| l.name().eq_ignore_ascii_case(name));
        found.copied().ok_or_else(|| LevelError {
            name: name.to_owned(),
            available: levels.iter().map(|l| l.name()).collect::<Vec<_>>().join(", "),
        })
    }
}
