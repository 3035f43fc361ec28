//! A token at random, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Candidates;

/// Draws tokens with random numbers from ChaCha8, whose key is the seed in eight bytes, lowest first, and
/// zeros.
///
/// Each draw takes one 64-bit number, also when only one token is possible: token `i` of a text depends on
/// number `i` of the stream and on nothing else that is random.
#[derive(Debug, Clone)]
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Draws a candidate with its probability.
    ///
    /// The candidates lie side by side in order of rank, each as wide as its weight; the random number says
    /// where to look.
    pub fn draw(&mut self, number: u64, candidates: &mut Candidates) -> u32 {
        self.0.set_word_pos(2 * u128::from(number));
        let place = self.uniform();
        let (list, weights) = candidates.weights();
        let target = place * weights.iter().sum::<f64>();
        let mut end = 0.0;
        let mut drawn = list[0].id;
        for (candidate, &weight) in list.iter().zip(weights) {
            if weight > 0.0 {
                drawn = candidate.id;
            }
            end += weight;
            if end > target {
                break;
            }
        }
        drawn
    }

    /// A number from 0 up to, not including, 1: a multiple of 2^-53.
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
