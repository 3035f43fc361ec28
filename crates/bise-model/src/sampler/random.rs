//! Random numbers that depend on the seed and their place alone, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Which candidate is drawn.
    Draw = 0,
    /// Whether [`Xtc`](super::Xtc) acts.
    Xtc = 1,
}

/// The random numbers of one token of a text.
///
/// They come from ChaCha8, whose key is the seed in eight bytes, lowest first, and zeros; the
/// stream is its nonce. Token `i` takes the 64-bit number `i` of each stream, whether it needs it
/// or not: what is drawn for one token never depends on how many numbers were drawn for others, so
/// that a rejected draft leaves no trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    /// The seed of the text.
    pub seed: u64,
    /// The number of the token.
    pub draw: u64,
}

impl Random {
    /// A number from 0 up to, not including, 1: a multiple of 2^-53.
    pub fn uniform(self, stream: Stream) -> f64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut numbers = ChaCha8Rng::from_seed(key);
        numbers.set_stream(stream as u64);
        numbers.set_word_pos(2 * u128::from(self.draw));
        (numbers.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
