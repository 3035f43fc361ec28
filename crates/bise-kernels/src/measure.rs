//! What a machine can do at most, for comparison with what kernels reach.

use crate::isa::{Isa, Kernel, LANES, Level};
use crate::threads::on_each_thread;
use std::hint::black_box;
use std::time::Instant;

/// Bytes that are read: more than caches hold.
const BUFFER: usize = 1 << 30;
/// How often each thing is measured; the best counts.
const TRIES: usize = 5;

/// Bytes a second that the `threads` threads of the current pool read from memory.
pub fn read_bandwidth(level: Level, threads: usize) -> f64 {
    let buffer = vec![1u8; BUFFER];
    let part = BUFFER / threads / (4 * LANES) * (4 * LANES);
    best(|| {
        on_each_thread(|i| {
            level.run(Read {
                bytes: &buffer[i * part..(i + 1) * part],
            })
        });
        (part * threads) as f64
    })
}

/// Products and additions of 8-bit integers a second that the threads of the current pool compute,
/// at a level.
pub fn integer_peak(level: Level) -> f64 {
    best(|| {
        let sums: usize = on_each_thread(|_| level.run(Dots)).iter().sum();
        (Dots::ROUNDS * sums * 4 * LANES * 2) as f64
    })
}

/// The best rate of `work`, which tells how much it did.
fn best(work: impl Fn() -> f64) -> f64 {
    let rates = (0..TRIES).map(|_| {
        let start = Instant::now();
        let done = work();
        done / start.elapsed().as_secs_f64()
    });
    rates.fold(0.0, f64::max)
}

/// Loads all of `bytes`.
struct Read<'a> {
    bytes: &'a [u8],
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) {
        let mut sums = [isa.splat(0.0); 8];
        for eight in self.bytes.as_chunks::<{ 4 * LANES }>().0.as_chunks::<8>().0 {
            for (sum, bytes) in sums.iter_mut().zip(eight) {
                *sum = isa.add(*sum, isa.load_f32(bytes));
            }
        }
        black_box(sums.map(|sum| isa.reduce_sum(sum)));
    }
}

/// Independent sums of products, without loads: enough to keep the multipliers busy. Gives how
/// many.
struct Dots;

impl Dots {
    const ROUNDS: usize = 1_000_000;

    #[inline(always)]
    fn sums<S: Isa, const SUMS: usize>(isa: S) -> usize {
        let w = isa.load_bytes(black_box(&[3; 4 * LANES]));
        let x = black_box([1, -2, 3, -1]);
        let mut sums = [isa.dot_zero(); SUMS];
        for _ in 0..Self::ROUNDS {
            for s in 0..SUMS {
                sums[s] = isa.optimization_barrier(isa.dot_accumulate(sums[s], w, x, 4));
            }
        }
        black_box(sums.map(|sum| isa.reduce_sum(isa.to_f32(isa.dot_widen(sum, 4)))));
        SUMS
    }
}

impl Kernel for Dots {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> usize {
        match S::WEIGHT_VECTORS {
            1 => Self::sums::<S, 6>(isa),
            _ => Self::sums::<S, 12>(isa),
        }
    }
}
