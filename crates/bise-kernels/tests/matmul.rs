//! The numeric contract of matrix products: every level, batch and thread count gives the bits of
//! the formula.

mod random_blocks;

use bise_kernels::block::{
    CODEBOOK_ZERO, CodebookFormat, DType, DecodedBlock, FormatVisitor, IntFormat, PlainFormat,
    UnpackedBlock,
};
use bise_kernels::isa::Level;
use bise_kernels::matmul::{Activations, Matrix, Weights, matmul};
use bise_kernels::mmap::FileBytes;
use bise_kernels::tensor::{RowOrder, Scales, Tensor};
use bise_kernels::threads::Threads;
use proptest::prelude::*;
use random_blocks::random_blocks;
use std::fmt;

/// Reproducible values around zero with a heavy tail.
fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n)
        .map(|_| (uniform() + uniform() + uniform()) * (1.0 + 20.0 * uniform().powi(4)))
        .collect()
}

/// A row of weights times a row of activations: the contract, written down once more and as plainly
/// as possible.
struct Formula<'a> {
    row: &'a [u8],
    x: &'a [f32],
}

impl FormatVisitor for Formula<'_> {
    type Output = f32;

    fn plain<F: PlainFormat>(self) -> f32 {
        let mut acc = [0f32; 16];
        for (k, x) in self.x.iter().enumerate() {
            let w = F::to_f32(&self.row[k * F::BYTES..][..F::BYTES]);
            acc[k % 16] = w.mul_add(*x, acc[k % 16]);
        }
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                acc[l] += acc[l + half];
            }
        }
        acc[0]
    }

    fn int<F: IntFormat>(self) -> f32 {
        let mut weights = Vec::new();
        for block in self.row.chunks_exact(F::BYTES) {
            let mut block_weights = UnpackedBlock::ZERO;
            F::unpack(block, &mut block_weights);
            for (g, q) in block_weights.q[..F::LEN].chunks_exact(F::SUB_BLOCK).enumerate() {
                weights.push(SubBlock {
                    q: q.iter().map(|q| F::number(*q)).collect(),
                    scale: block_weights.scale::<F>(g),
                    min: F::HAS_MIN.then(|| block_weights.min::<F>(g)),
                });
            }
        }
        quantized_product(&weights, self.x)
    }

    fn codebook<F: CodebookFormat>(self) -> f32 {
        let mut weights = Vec::new();
        for block in self.row.chunks_exact(F::BYTES) {
            let block = DecodedBlock::new::<F>(block);
            for (g, q) in block.q[..F::LEN].chunks_exact(F::SUB_BLOCK).enumerate() {
                weights.push(SubBlock {
                    q: q.iter()
                        .map(|q| i32::from(*q) - i32::from(CODEBOOK_ZERO))
                        .collect(),
                    scale: block.scale[g],
                    min: None,
                });
            }
        }
        quantized_product(&weights, self.x)
    }
}

/// Weights that share a scale: `scale * q - min`.
struct SubBlock {
    q: Vec<i32>,
    scale: f32,
    min: Option<f32>,
}

fn quantized_product(weights: &[SubBlock], x: &[f32]) -> f32 {
    let activations: Vec<(f32, Vec<i32>)> = x.chunks_exact(32).map(quantized).collect();
    let (mut acc, mut column) = (0f32, 0);
    for w in weights {
        let (d, x) = &activations[column / 32];
        let x = &x[column % 32..][..w.q.len()];
        let isum: i32 = x.iter().zip(&w.q).map(|(x, q)| x * q).sum();
        acc = (isum as f32).mul_add(w.scale * d, acc);
        if let Some(min) = w.min {
            acc = (-min).mul_add(d * x.iter().sum::<i32>() as f32, acc);
        }
        column += w.q.len();
    }
    acc
}

/// The scale and the integers of 32 activations.
fn quantized(x: &[f32]) -> (f32, Vec<i32>) {
    let amax = x.iter().fold(0f32, |m, v| m.max(v.abs()));
    let int = |v: &f32| {
        if amax == 0.0 {
            0
        } else {
            (v * (127.0 / amax)).round_ties_even() as i32
        }
    };
    (amax / 127.0, x.iter().map(int).collect())
}

/// Weights of a format, and rows of activations that they are multiplied with.
struct Case {
    dtype: DType,
    rows: usize,
    cols: usize,
    batch: usize,
    weights: Vec<u8>,
    x: Vec<f32>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dtype,
            rows,
            cols,
            batch,
            ..
        } = self;
        write!(f, "{dtype} {rows}x{cols} times {batch} rows")
    }
}

impl Case {
    fn new(dtype: DType, rows: usize, blocks: usize, batch: usize, seed: u64) -> Self {
        let cols = if dtype.is_quantized() {
            blocks * dtype.block_len()
        } else {
            37 * blocks
        };
        Self::of_cols(dtype, rows, cols, batch, seed)
    }

    fn of_cols(dtype: DType, rows: usize, cols: usize, batch: usize, seed: u64) -> Self {
        let weights = if dtype.can_quantize() {
            let mut weights = vec![0; dtype.bytes_for((rows * cols) as u64).unwrap() as usize];
            dtype.quantize(&values(seed, rows * cols), None, &mut weights);
            weights
        } else {
            random_blocks(dtype, rows * cols / dtype.block_len(), seed)
        };
        Self {
            dtype,
            rows,
            cols,
            batch,
            weights,
            x: values(seed + 1, batch * cols),
        }
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.dtype, self.rows, self.cols, &self.weights).unwrap()
    }

    fn weights(&self) -> Weights {
        let bytes = FileBytes::from_vec(self.weights.clone());
        Weights::new(&Tensor::from_bytes(self.dtype, &[self.rows, self.cols], bytes).unwrap())
            .unwrap()
    }

    fn formula(&self) -> Vec<u32> {
        let w = self.matrix();
        let outputs = self.x.chunks_exact(self.cols).flat_map(|x| {
            (0..self.rows).map(move |r| self.dtype.visit(Formula { row: w.row(r), x }).to_bits())
        });
        outputs.collect()
    }

    fn kernel(&self, level: Level) -> Vec<u32> {
        product(&self.weights(), &mut self.activations(level))
    }

    fn activations(&self, level: Level) -> Activations {
        let mut x = Activations::with_capacity(level, self.batch, self.cols);
        x.set(&self.x, self.cols);
        x
    }
}

/// The bits of the outputs of `w` for `x`.
fn product(w: &Weights, x: &mut Activations) -> Vec<u32> {
    let mut out = vec![f32::NAN; w.rows() * x.len()];
    matmul(w, x, &mut out);
    out.iter().map(|y| y.to_bits()).collect()
}

/// Rows of weights around 16 and 32; batches for gemv and gemm, with whole and short last tiles and
/// blocks at every level.
#[test]
fn every_level_computes_the_formula_for_every_format_and_tail() {
    for &dtype in DType::ALL {
        for (rows, blocks, batch) in [
            (1, 1, 1),
            (17, 2, 3),
            (15, 1, 4),
            (16, 3, 5),
            (33, 1, 9),
            (5, 5, 17),
            (2, 1, 11),
            (1, 2, 12),
            (16, 1, 26),
            (34, 2, 53),
            (18, 6, 2),
            (3, 9, 7),
            (2, 8, 101),
            (3, 1, 541),
        ] {
            every_level_computes(&Case::new(dtype, rows, blocks, batch, 7));
        }
    }
}

/// Unquantized weights are read in pieces of thousands of columns.
#[test]
fn every_level_computes_the_formula_for_long_unquantized_rows() {
    for &dtype in DType::ALL.iter().filter(|dtype| !dtype.is_quantized()) {
        for (rows, cols, batch) in [
            (5, 9000, 1),
            (9, 2100, 3),
            (17, 1100, 8),
            (18, 2085, 26),
            (3, 1060, 541),
        ] {
            every_level_computes(&Case::of_cols(dtype, rows, cols, batch, 7));
        }
    }
}

fn every_level_computes(case: &Case) {
    let expected = case.formula();
    for level in Level::available() {
        assert_eq!(case.kernel(level), expected, "{case} at {level}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn levels_and_threads_agree(
        dtype in proptest::sample::select(DType::ALL),
        rows in 1usize..40, blocks in 1usize..4, batch in 1usize..14, threads in 1usize..5, seed in 1u64..1 << 40,
    ) {
        let case = Case::new(dtype, rows, blocks, batch, seed);
        let expected = case.formula();
        for level in Level::available() {
            let got = Threads::new(threads).unwrap().run(|| case.kernel(level));
            prop_assert_eq!(&got, &expected, "{} on {} threads", level, threads);
        }
    }

    #[test]
    fn a_gathered_row_is_the_row(
        dtype in proptest::sample::select(DType::ALL), batch in 1usize..6,
        pick in proptest::collection::vec(0u32..6, 1..9), seed in 1u64..1 << 40,
    ) {
        let pick: Vec<u32> = pick.into_iter().map(|r| r % batch as u32).collect();
        let case = Case::new(dtype, 3, 1, batch, seed);
        let all = case.formula();
        let expected: Vec<u32> = pick.iter().flat_map(|&r| all[r as usize * 3..][..3].to_vec()).collect();
        let level = Level::detect();
        let mut some = Activations::with_capacity(level, pick.len(), case.cols);
        some.gather(&case.activations(level), &pick);
        prop_assert_eq!(product(&case.weights(), &mut some), expected);
    }
}

/// Activations of one level, gathered from those of another that have been multiplied and are
/// packed already, and back: rows are packed as each level's kernels walk through them. One format
/// of each kind of weights, and batches for each of their kernels.
#[test]
fn activations_of_one_level_meet_those_of_another() {
    for dtype in [DType::F16, DType::Q4_0, DType::Q4_K, DType::Q6_K, DType::IQ2_XS] {
        for batch in [1, 5, 13, 70] {
            let case = Case::new(dtype, 19, 2, batch, 13);
            let (weights, expected) = (case.weights(), case.formula());
            let all: Vec<u32> = (0..batch as u32).collect();
            for from in Level::available() {
                for to in Level::available() {
                    let mut x = case.activations(from);
                    assert_eq!(product(&weights, &mut x), expected, "{dtype} x {batch} at {from}");
                    let mut gathered = Activations::with_capacity(to, 0, 0);
                    gathered.gather(&x, &all);
                    assert_eq!(gathered.level(), to);
                    let got = product(&weights, &mut gathered);
                    assert_eq!(got, expected, "{dtype} x {batch} from {from} to {to}");
                    x.gather(&gathered, &all);
                    let got = product(&weights, &mut x);
                    assert_eq!(got, expected, "{dtype} x {batch} from {from} to {to} and back");
                }
            }
        }
    }
}

/// A matrix of values with scales, and what it stands for: each value times its scale, rounded
/// once.
struct Scaled {
    tensor: Tensor,
    dequantized: Tensor,
}

impl Scaled {
    fn new(dtype: DType, [rows, cols]: [usize; 2], block: [usize; 2], order: RowOrder) -> Self {
        let bytes = random_blocks(dtype, rows * cols, 5);
        let across = cols.div_ceil(block[1]);
        let mut scales = values(6, rows.div_ceil(block[0]) * across);
        scales.iter_mut().step_by(5).for_each(|scale| *scale *= 1e-3);
        let mut stored = vec![0.0; rows * cols];
        dtype.dequantize(&bytes, &mut stored);
        let dequantized = (0..rows).flat_map(|row| {
            let row = order.source_row(row);
            let (stored, scales) = (&stored, &scales);
            (0..cols).flat_map(move |c| {
                let scale = scales[row / block[0] * across + c / block[1]];
                (stored[row * cols + c] * scale).to_le_bytes()
            })
        });
        let of =
            |dtype, bytes| Tensor::from_bytes(dtype, &[rows, cols], FileBytes::from_vec(bytes));
        let dequantized = of(DType::F32, dequantized.collect()).unwrap();
        let scales = Scales::new([rows, cols], block, scales).unwrap();
        let mut tensor = of(dtype, bytes).unwrap().with_scales(scales).unwrap();
        if order != RowOrder::Same {
            tensor = tensor.reordered(order).unwrap();
        }
        Self {
            tensor,
            dequantized,
        }
    }

    /// Whether products with so many rows of activations are those of the dequantized matrix.
    fn check(&self, batches: impl Iterator<Item = usize>) {
        let [rows, cols] = self.tensor.shape()[..] else {
            unreachable!("a matrix");
        };
        let of = |tensor: &Tensor| Weights::new(&tensor.native()).unwrap();
        let (scaled, dequantized) = (of(&self.tensor), of(&self.dequantized));
        for batch in batches {
            let x = values(batch as u64, batch * cols);
            let at = |level, weights: &Weights| {
                let mut activations = Activations::with_capacity(level, batch, cols);
                activations.set(&x, cols);
                product(weights, &mut activations)
            };
            let expected = at(Level::SCALAR, &dequantized);
            for level in Level::available() {
                let got = at(level, &scaled);
                let scales = self.tensor.scales().unwrap();
                assert!(got == expected, "{rows}x{cols} by {batch} at {level}, {scales}");
            }
        }
    }
}

/// Products of weights with scales have the bits of those of the dequantized weights, whatever
/// shares a scale, in whichever order rows come.
#[test]
fn scaled_weights_are_multiplied_as_their_products() {
    let halves = RowOrder::Interleaved { head_dim: 6 };
    for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_scaled()) {
        for (shape, order) in [
            ([1, 1], RowOrder::Same),
            ([17, 37], RowOrder::Same),
            ([18, 48], halves),
            ([36, 131], halves),
        ] {
            let [rows, cols] = shape;
            for block in [
                [rows, cols],
                [1, cols],
                [5, 16],
                [128, 128],
                [7, 48],
                [3, 40],
                [2, 1],
            ] {
                Scaled::new(dtype, shape, block, order).check(1..=40);
            }
        }
        // Rows of several pieces.
        for (shape, block) in [
            ([9, 4300], [128, 128]),
            ([12, 2085], [1, 2085]),
            ([6, 9000], [4, 4016]),
            ([6, 1100], [6, 24]),
        ] {
            for order in [RowOrder::Same, halves] {
                if order.fits(shape[0]) {
                    Scaled::new(dtype, shape, block, order).check([1, 3, 8, 26].into_iter());
                }
            }
        }
    }
}

/// A product differs from that of the dequantized weights by what activations lose, half a step
/// each, and by rounding: a relative 2^-24 for each of a few operations a column, on sums of up to
/// all products.
#[test]
fn products_are_those_of_the_dequantized_weights_within_half_a_step() {
    for &dtype in DType::ALL.iter().filter(|t| t.is_quantized()) {
        let case = Case::new(dtype, 21, 5, 3, 11);
        let mut weights = vec![0.0; case.rows * case.cols];
        dtype.dequantize(&case.weights, &mut weights);
        let got = case.kernel(Level::detect());
        for (n, x) in case.x.chunks_exact(case.cols).enumerate() {
            for (r, w) in weights.chunks_exact(case.cols).enumerate() {
                let most = |v: &[f32]| v.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
                let rounding =
                    8.0 * (case.cols as f64).powi(2) * most(w) * most(x) / f64::from(1 << 24);
                let (mut exact, mut bound) = (0.0, rounding);
                for (w, x) in w.chunks_exact(32).zip(x.chunks_exact(32)) {
                    for (w, v) in w.iter().zip(x) {
                        exact += f64::from(*w) * f64::from(*v);
                        bound += f64::from(w.abs()) * most(x) / 127.0 / 2.0;
                    }
                }
                let y = f64::from(f32::from_bits(got[n * case.rows + r]));
                assert!(
                    (y - exact).abs() <= bound,
                    "{dtype} row {r}, input {n}: {y} and {exact}, bound {bound}"
                );
            }
        }
    }
}

/// Models are shared between threads, and texts move from one to another.
#[test]
fn what_products_take_may_go_from_thread_to_thread() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Activations>();
    send_and_sync::<Weights>();
    send_and_sync::<Tensor>();
    send_and_sync::<Threads>();
}

#[test]
fn a_matrix_must_have_its_size() {
    assert!(Matrix::new(DType::Q4_0, 2, 32, &[0; 36]).is_some());
    assert!(Matrix::new(DType::Q4_0, 2, 32, &[0; 35]).is_none());
    assert!(Matrix::new(DType::Q4_0, 2, 33, &[0; 36]).is_none());
    assert!(Matrix::new(DType::F32, usize::MAX, usize::MAX, &[]).is_none());
}
