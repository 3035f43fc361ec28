//! What the benches share: times beside the share of the machine's limits that they take.

#![forbid(unsafe_code)]

use bise_kernels::isa::Level;
use bise_kernels::measure;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput};
use std::time::{Duration, Instant};

/// Wall time, whose throughput is a share of what the machine can do at most: of `Bytes`, what
/// memory gives to be read; of `Elements`, each a multiplication or an addition, what the best
/// instruction set computes with 8-bit integers.
pub struct OfRoofline(Formatter);

struct Formatter {
    bytes_per_second: f64,
    operations_per_second: f64,
}

impl OfRoofline {
    /// Measures the limits, with all cores.
    pub fn measured() -> Self {
        let (level, threads) = (Level::detect(), std::thread::available_parallelism());
        let threads = threads.map_or(1, |n| n.get());
        Self(Formatter {
            bytes_per_second: measure::read_bandwidth(level, threads),
            operations_per_second: measure::integer_peak(level),
        })
    }
}

/// Criterion with few samples: there are many benches, and figures are compared within a run.
pub fn criterion() -> Criterion<OfRoofline> {
    let brief = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    brief.with_measurement(OfRoofline::measured())
}

impl Measurement for OfRoofline {
    type Intermediate = Instant;
    type Value = Duration;

    fn start(&self) -> Instant {
        WallTime.start()
    }

    fn end(&self, start: Instant) -> Duration {
        WallTime.end(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &self.0
    }
}

impl ValueFormatter for Formatter {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(
        &self,
        typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        let (amount, limit, unit) = match *throughput {
            Throughput::Bytes(bytes) => (bytes, self.bytes_per_second, "% of read bandwidth"),
            Throughput::Elements(operations) => {
                (operations, self.operations_per_second, "% of integer peak")
            }
            _ => {
                return WallTime
                    .formatter()
                    .scale_throughputs(typical, throughput, values);
            }
        };
        for nanoseconds in values {
            *nanoseconds = amount as f64 / *nanoseconds * 1e9 / limit * 100.0;
        }
        unit
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}

/// `n` reproducible values from -1 to 1.
pub fn values(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}
