//! Matrix products of every format, at the shape of Mistral 7B's query projection, for one token
//! and for several.

use bise_benches::{OfRoofline, criterion, values};
use bise_kernels::block::DType;
use bise_kernels::isa::Level;
use bise_kernels::matmul::{Activations, Weights, matmul};
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::{Scales, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const ROWS: usize = 4096;
const COLS: usize = 4096;
/// Rows and columns that share a scale, of types whose scales are the tensor's.
const BLOCK: usize = 128;

fn weights(dtype: DType) -> Weights {
    let mut blocks = vec![0; dtype.bytes_for((ROWS * COLS) as u64).expect("whole blocks") as usize];
    if dtype.can_quantize() {
        dtype.quantize(&values(ROWS * COLS), None, &mut blocks);
    } else {
        // Any bits are blocks.
        let bits = (0..).map(|i: usize| ((i * i) >> 5) as u8);
        blocks.iter_mut().zip(bits).for_each(|(byte, bits)| *byte = bits);
    }
    let mut tensor =
        Tensor::from_bytes(dtype, &[ROWS, COLS], FileBytes::from_vec(blocks)).expect("its size");
    if dtype.is_scaled() {
        let scales = vec![0.01; ROWS / BLOCK * (COLS / BLOCK)];
        let scales = Scales::new([ROWS, COLS], [BLOCK; 2], scales).expect("one for each block");
        tensor = tensor.with_scales(scales).expect("of its shape");
    }
    Weights::new(&tensor).expect("memory")
}

/// One token reads as many weights as there are; many multiply each weight with many.
fn throughput(dtype: DType, batch: usize) -> Throughput {
    if batch == 1 {
        Throughput::Bytes(dtype.bytes_for((ROWS * COLS) as u64).expect("whole blocks"))
    } else {
        Throughput::Elements((2 * ROWS * COLS * batch) as u64)
    }
}

fn bench(c: &mut Criterion<OfRoofline>) {
    for batch in [1, 2, 4, 8, 16, 64, 512] {
        let mut group = c.benchmark_group(format!("{ROWS}x{COLS}, {batch} tokens"));
        for &dtype in DType::ALL {
            let weights = weights(dtype);
            group.throughput(throughput(dtype, batch));
            for level in Level::available().into_iter().skip(1) {
                let mut x = Activations::with_capacity(level, batch, COLS);
                x.set(&values(batch * COLS), COLS);
                let mut out = vec![0.0; batch * ROWS];
                group.bench_function(BenchmarkId::new(dtype.name(), level), |b| {
                    b.iter(|| matmul(&weights, &mut x, &mut out));
                });
            }
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = criterion(); targets = bench }
criterion_main!(benches);
