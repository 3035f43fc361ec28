//! Matrix products of every format, at the shape of Mistral 7B's query projection: one token, and a batch.

use bise_tensor::block::DType;
use bise_tensor::isa::Level;
use bise_tensor::matmul::{Activations, Weights, matmul};
use bise_tensor::mmap::FileBytes;
use bise_tensor::tensor::Tensor;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const ROWS: usize = 4096;
const COLS: usize = 4096;

fn values(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}

fn bench(c: &mut Criterion) {
    for batch in [1, 64] {
        let mut group = c.benchmark_group(format!("{ROWS}x{COLS}, batch {batch}"));
        group.sample_size(10);
        group.throughput(Throughput::Elements((ROWS * COLS * batch) as u64));
        for &dtype in DType::ALL {
            let mut weights = vec![0; dtype.bytes_for((ROWS * COLS) as u64).expect("whole blocks") as usize];
            if dtype.can_quantize() {
                dtype.quantize(&values(ROWS * COLS), None, &mut weights);
            } else {
                // Any bits are blocks.
                weights
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, byte)| *byte = (i * i >> 5) as u8);
            }
            let tensor =
                Tensor::from_bytes(dtype, &[ROWS, COLS], FileBytes::from_vec(weights)).expect("its size");
            let weights = Weights::new(&tensor).expect("memory");
            for level in Level::available().into_iter().skip(1) {
                let mut x = Activations::default();
                x.set(level, &values(batch * COLS), COLS);
                let mut out = vec![0.0; batch * ROWS];
                group.bench_function(BenchmarkId::new(dtype.name(), level), |b| {
                    b.iter(|| matmul(level, &weights, &mut x, &mut out));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
