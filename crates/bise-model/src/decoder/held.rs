//! Weights that are in memory for good, or for as long as they are looked at.

use std::ops::Deref;

/// A layer's weights, or an expert's.
pub(crate) enum Held<'a, T> {
    /// They stay in memory.
    Resident(&'a T),
    /// They were brought into memory, and go when they are dropped.
    Loaded(Box<T>),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Resident(weights) => weights,
            Self::Loaded(weights) => weights,
        }
    }
}
