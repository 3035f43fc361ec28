//! What every format promises, whatever the values: each law walks [`DType::ALL`].

use bise_kernels::block::{
    CODEBOOK_ZERO, CodebookFormat, DType, DecodedBlock, FormatVisitor, IntFormat, PlainFormat,
    UnpackedBlock,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// The types that are written; the others are only read.
fn written() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|t| t.can_quantize())
}

/// The types whose quantizer searches for the least error.
fn searched() -> impl Iterator<Item = DType> {
    written().filter(|&t| t.block_len() == 256 || t == DType::IQ4_NL)
}

/// The types whose quantizer searches when it is told what is important, and only then.
const WEIGHED: [DType; 4] = [DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1];

/// The types whose quantizer does not search by itself.
fn direct() -> impl Iterator<Item = DType> {
    written().filter(|&t| !searched().any(|s| s == t))
}

fn quantize(dtype: DType, x: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let mut out = vec![0; x.len() / dtype.block_len() * dtype.block_bytes()];
    dtype.quantize(x, importance, &mut out);
    out
}

fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    dtype.dequantize(bytes, &mut out);
    out
}

/// What the format makes of `x`.
fn stored(dtype: DType, x: &[f32]) -> Vec<f32> {
    dequantize(dtype, &quantize(dtype, x, None))
}

fn squares(x: &[f32], y: &[f32]) -> f64 {
    let errors = x.iter().zip(y);
    errors.map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

/// How far a stored value may be from its own.
enum Bound {
    /// Each value.
    Each(f64),
    /// Each value, by its own magnitude: relative, and absolute.
    Relative(f64, f64),
    /// The root mean square over the block.
    Rms(f64),
}

/// Half a unit in the last place of an f16: relative, and absolute below its normal range.
const F16_RELATIVE: f64 = 1.0 / 2048.0;
const F16_ABSOLUTE: f64 = 1.0 / (1u64 << 25) as f64;

fn f16_error(v: f64) -> f64 {
    v * F16_RELATIVE + F16_ABSOLUTE
}

/// The bound that follows from how the format stores `block`, a block of finite values.
fn bound(dtype: DType, block: &[f32]) -> Bound {
    let groups = |len: usize| block.chunks(len.min(block.len()));
    let amax = block.iter().fold(0.0, |a: f64, &v| a.max(f64::from(v).abs()));
    let range = |x: &[f32], zero: f32| {
        let least = x.iter().copied().fold(zero, f32::min);
        let greatest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (f64::from(least), f64::from(greatest))
    };
    // f32 arithmetic: a handful of roundings of numbers up to amax.
    let f32_error = 8.0 * amax * f64::from(f32::EPSILON);
    // A step each, for the greatest level is one short of the extreme's; and the error of d, times
    // levels.
    let around_zero =
        |levels: f64| Bound::Each(amax / levels + levels * f16_error(amax / levels) + f32_error);
    // Half a step, and the errors of d and m.
    let with_offset = |levels: f64| {
        let (least, greatest) = range(block, f32::INFINITY);
        let step = (greatest - least) / levels;
        Bound::Each(step / 2.0 + levels * f16_error(step) + f16_error(least.abs()) + f32_error)
    };
    // Fits err by half a step of a range 1.02 times that of the values, or less. With scales up to
    // 5/4 of the range (least squares may exceed it) and minima up to 5/4 of the least value or the
    // range, stored scales are off by half of 5/4 / steps, times the greatest level, and minima
    // likewise. Then the error of f16 d and dmin, times the integers that they multiply.
    let affine = |group: usize, levels: f64, steps: f64| {
        let ranges = || groups(group).map(|x| range(x, 0.0));
        let width = ranges()
            .map(|(least, greatest)| greatest - least)
            .fold(0.0, f64::max);
        let size = ranges().map(|(least, _)| -least).fold(width, f64::max);
        let fit = 1.02 * width / levels / 2.0;
        let integers = 1.25 * (width + size) / steps / 2.0;
        let f16 = levels * steps * f16_error(1.25 * width / levels / steps)
            + steps * f16_error(1.25 * size / steps);
        Bound::Rms(fit + integers + f16 + f32_error)
    };
    // The same, with the extreme on the level `1 - levels`, so that no value lies beyond the
    // greatest.
    let symmetric = |levels: f64, steps: f64| {
        let fit = amax / (levels - 1.0) / 2.0;
        let scale = 1.25 * amax / (levels - 1.0);
        let integers = levels * scale / (steps - 1.0) / 2.0;
        Bound::Rms(fit + integers + levels * steps * f16_error(scale / steps) + f32_error)
    };
    // Levels from -127 to 113, at most 23 apart: with the extreme on -127 no value is more than 14
    // levels off. Scales as above, up to 5/4 of what that takes, times the greatest level.
    let nonlinear = |steps: Option<f64>| {
        let scale = 1.25 * amax / 113.0;
        let (integers, factor) = steps.map_or((0.0, 1.0), |n| (127.0 * scale / (n - 1.0) / 2.0, n));
        let f16 = 127.0 * factor * f16_error(scale / factor);
        Bound::Rms(14.0 * amax / 127.0 + integers + f16 + f32_error)
    };
    match dtype {
        DType::F32 => Bound::Each(0.0),
        DType::F16 => Bound::Relative(F16_RELATIVE, F16_ABSOLUTE),
        DType::Bf16 => Bound::Relative(1.0 / 256.0, 0.0),
        DType::Q4_0 => around_zero(8.0),
        DType::Q5_0 => around_zero(16.0),
        DType::Q8_0 => {
            Bound::Each(amax / 127.0 / 2.0 + 127.0 * f16_error(amax / 127.0) + f32_error)
        }
        DType::Q4_1 => with_offset(15.0),
        DType::Q5_1 => with_offset(31.0),
        DType::Q2_K => affine(16, 3.0, 15.0),
        DType::Q4_K => affine(32, 15.0, 63.0),
        DType::Q5_K => affine(32, 31.0, 63.0),
        DType::Q3_K => symmetric(4.0, 32.0),
        DType::Q6_K => symmetric(32.0, 128.0),
        DType::IQ4_NL => nonlinear(None),
        DType::IQ4_XS => nonlinear(Some(32.0)),
        _ => unreachable!("{dtype} is only read"),
    }
}

/// 256 values: normal-like, uniform, sparse or one-sided, of very different sizes, some with an
/// offset.
fn ordinary() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        8 => -1f32..1.0,
        4 => (-1f32..1.0).prop_map(|v| v * v * v),
        1 => Just(0.0),
        1 => prop_oneof![Just(1f32), Just(-1.0)],
    ];
    let offset = prop_oneof![3 => Just(0f32), 1 => -2f32..2.0];
    (vec(value, 256), -20i32..12, offset, any::<bool>()).prop_map(
        |(mut x, exponent, offset, rough)| {
            for (i, v) in x.iter_mut().enumerate() {
                // Rough blocks have groups of sizes from 1 to 1/128.
                let group = if rough { i / 32 } else { 0 };
                *v = (*v + offset) * 2f32.powi(exponent - group as i32);
            }
            x
        },
    )
}

/// Any bits: NaN, infinities, subnormals and all else.
fn anything() -> impl Strategy<Value = f32> {
    prop_oneof![any::<u32>().prop_map(f32::from_bits), -1f32..1.0]
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn stored_values_stay_within_the_bound(x in ordinary()) {
        for dtype in written() {
            let y = stored(dtype, &x);
            let blocks = x.chunks(dtype.block_len()).zip(y.chunks(dtype.block_len()));
            for (b, (x, y)) in blocks.enumerate() {
                let worst = x.iter().zip(y).map(|(x, y)| f64::from((x - y).abs())).fold(0.0, f64::max);
                let (error, bound) = match bound(dtype, x) {
                    Bound::Each(bound) => (worst, bound),
                    Bound::Relative(rel, abs) => (worst, f64::from(x[0].abs()) * rel + abs),
                    Bound::Rms(bound) => ((squares(x, y) / x.len() as f64).sqrt(), bound),
                };
                prop_assert!(error <= bound, "{dtype} block {b}: error {error:e}, bound {bound:e}");
            }
        }
    }

    /// An offset without a zero among its values is so large that f32 rounding shows in the range.
    #[test]
    fn stored_values_are_stored_again_as_they_are(x in ordinary()) {
        for dtype in direct() {
            let once = stored(dtype, &x);
            let twice = stored(dtype, &once);
            let blocks = once.chunks(32).zip(twice.chunks(32));
            for (once, twice) in blocks.filter(|(x, _)| x.iter().any(|&v| v <= 0.0) && x.iter().any(|&v| v >= 0.0)) {
                prop_assert_eq!(once, twice, "{}", dtype);
            }
        }
    }

    #[test]
    fn zeros_stay_zeros(negative in vec(any::<bool>(), 256)) {
        let x: Vec<f32> = negative.iter().map(|&n| if n { -0.0 } else { 0.0 }).collect();
        for dtype in written() {
            prop_assert!(stored(dtype, &x).iter().all(|&v| v == 0.0), "{dtype}");
        }
    }

    /// Powers of two move through every format, as long as f16 scales keep all their bits.
    #[test]
    fn powers_of_two_commute(mut x in vec(-1f32..1.0, 256), power in 1i32..12) {
        for group in x.chunks_mut(16) {
            (group[0], group[1]) = (-1.0, 1.0);
        }
        x.iter_mut().for_each(|v| *v = (*v * 4096.0).round() / 64.0);
        let factor = 2f32.powi(power - 6);
        let scaled: Vec<f32> = x.iter().map(|v| v * factor).collect();
        for dtype in written() {
            let expected: Vec<f32> = stored(dtype, &x).iter().map(|v| v * factor).collect();
            prop_assert_eq!(stored(dtype, &scaled), expected, "{}", dtype);
        }
    }

    #[test]
    fn no_input_panics(x in vec(anything(), 256), importance in vec(anything(), 256)) {
        for dtype in written() {
            quantize(dtype, &x, None);
            quantize(dtype, &x, Some(&importance));
        }
    }

    #[test]
    fn finite_values_of_searched_formats_stay_finite(x in vec(anything(), 256), importance in vec(anything(), 256)) {
        let x: Vec<f32> = x.iter().map(|&v| if v.is_finite() { v } else { f32::MAX }).collect();
        for dtype in searched().chain(WEIGHED) {
            for importance in [None, Some(&importance[..])] {
                if importance.is_some() || !WEIGHED.contains(&dtype) {
                    let y = dequantize(dtype, &quantize(dtype, &x, importance));
                    prop_assert!(y.iter().all(|v| v.is_finite()), "{dtype}");
                }
            }
        }
    }

    #[test]
    fn unpacking_gives_the_dequantized_values(bytes in vec(any::<u8>(), 1024)) {
        for &dtype in DType::ALL {
            let block = &bytes[..dtype.block_bytes()];
            let expected = dequantize(dtype, block);
            let unpacked = dtype.visit(Unpack(block));
            for (i, (a, b)) in unpacked.iter().zip(&expected).enumerate() {
                let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                prop_assert!(same, "{dtype} value {i}: {a:e} and {b:e}");
            }
            prop_assert_eq!(unpacked.len(), expected.len());
        }
    }

    #[test]
    fn swapping_bytes_twice_is_nothing(bytes in vec(any::<u8>(), 1024)) {
        for &dtype in DType::ALL {
            let whole = bytes.len() / dtype.block_bytes() * dtype.block_bytes();
            let mut swapped = bytes[..whole].to_vec();
            dtype.swap_endian(&mut swapped);
            for (block, original) in swapped.chunks(dtype.block_bytes()).zip(bytes.chunks(dtype.block_bytes())) {
                let mut expected = original.to_vec();
                for &(at, length) in integers(dtype) {
                    expected[at..at + length].reverse();
                }
                prop_assert_eq!(block, &expected[..], "{}", dtype);
            }
            dtype.swap_endian(&mut swapped);
            prop_assert_eq!(&swapped[..], &bytes[..whole], "{}", dtype);
        }
    }
}

/// Where a block has numbers of several bytes, by the structs of GGML: offset and length.
fn integers(dtype: DType) -> &'static [(usize, usize)] {
    match dtype {
        DType::F32 => &[(0, 4)],
        DType::F16 | DType::Bf16 | DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => &[(0, 2)],
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[(0, 2), (2, 2)],
        DType::Q2_K => &[(80, 2), (82, 2)],
        DType::Q3_K => &[(108, 2)],
        DType::Q6_K => &[(208, 2)],
        DType::IQ4_NL | DType::IQ2_S | DType::IQ3_XXS | DType::IQ3_S => &[(0, 2)],
        DType::IQ4_XS => &[(0, 2), (2, 2)],
        DType::IQ2_XXS | DType::IQ2_XS => &const { pairs::<33>(0) },
        DType::IQ1_S => &[
            (0, 2),
            (34, 2),
            (36, 2),
            (38, 2),
            (40, 2),
            (42, 2),
            (44, 2),
            (46, 2),
            (48, 2),
        ],
        DType::IQ1_M => &const { pairs::<4>(48) },
        DType::TQ1_0 => &[(52, 2)],
        DType::TQ2_0 => &[(64, 2)],
        DType::MXFP4 | DType::NVFP4 | DType::F8_E4M3 => &[],
        DType::Q1_0 | DType::Q2_0 => &[(0, 2)],
    }
}

/// `N` numbers of two bytes from `first` on.
const fn pairs<const N: usize>(first: usize) -> [(usize, usize); N] {
    let (mut all, mut i) = ([(0, 2); N], 0);
    while i < N {
        all[i].0 = first + 2 * i;
        i += 1;
    }
    all
}

/// The values of a block by way of its integers.
struct Unpack<'a>(&'a [u8]);

impl FormatVisitor for Unpack<'_> {
    type Output = Vec<f32>;

    fn plain<F: PlainFormat>(self) -> Vec<f32> {
        vec![F::to_f32(self.0)]
    }

    fn int<F: IntFormat>(self) -> Vec<f32> {
        let mut w = UnpackedBlock::ZERO;
        F::unpack(self.0, &mut w);
        let value = |i: usize| {
            let product = w.scale::<F>(i / F::SUB_BLOCK) * F::number(w.q[i]) as f32;
            if F::HAS_MIN {
                product - w.min::<F>(i / F::SUB_BLOCK)
            } else {
                product
            }
        };
        (0..F::LEN).map(value).collect()
    }

    fn codebook<F: CodebookFormat>(self) -> Vec<f32> {
        let w = DecodedBlock::new::<F>(self.0);
        let number = |i: usize| f32::from(w.q[i]) - f32::from(CODEBOOK_ZERO);
        (0..F::LEN)
            .map(|i| w.scale[i / F::SUB_BLOCK] * number(i))
            .collect()
    }
}

/// Pseudo-random numbers from 0 to 1.
fn uniform() -> impl FnMut() -> f32 {
    let mut state = 1u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    }
}

/// Values distributed nearly normally, as weights are.
fn bell(uniform: &mut impl FnMut() -> f32) -> Vec<f32> {
    (0..16384)
        .map(|_| (0..6).map(|_| uniform() - 0.5).sum())
        .collect()
}

/// The search finds values that it stored itself again, but for some blocks where another solution
/// is as near.
#[test]
fn storing_twice_loses_little_more() {
    let x = bell(&mut uniform());
    for dtype in searched() {
        let once = stored(dtype, &x);
        let (first, second) = (squares(&x, &once), squares(&once, &stored(dtype, &once)));
        assert!(second < 0.1 * first, "{dtype}: {first:e}, then {second:e}");
    }
}

/// Importance lowers the weighted error where there is a search, and changes nothing elsewhere.
#[test]
fn importance_lowers_the_weighted_error() {
    let mut state = 1u32;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let x: Vec<f32> = (0..16384)
        .map(|_| (0..6).map(|_| uniform() - 0.5).sum())
        .collect();
    let importance: Vec<f32> = (0..x.len()).map(|_| 100f32.powf(uniform())).collect();
    for dtype in direct().filter(|t| !WEIGHED.contains(t)) {
        assert_eq!(
            quantize(dtype, &x, Some(&importance)),
            quantize(dtype, &x, None),
            "{dtype}"
        );
    }
    for dtype in searched().chain(WEIGHED) {
        let (with, without) = (quantize(dtype, &x, Some(&importance)), quantize(dtype, &x, None));
        let error = |bytes: &[u8]| -> f64 {
            let y = dequantize(dtype, bytes);
            let weighted = x.iter().zip(&y).zip(&importance);
            weighted.map(|((x, y), w)| f64::from(w * (x - y) * (x - y))).sum()
        };
        let (with, without) = (error(&with), error(&without));
        assert!(
            with < 0.95 * without,
            "{dtype}: {with:e} with importance, {without:e} without"
        );
    }
}

/// Blocks far from zero, of one value, of zeros, and without any importance: hardly ever worse than
/// without a search, as far as the rounding of a large minimum goes.
#[test]
fn weighed_blocks_of_any_kind_are_near() {
    let mut uniform = uniform();
    let blocks: [fn(f32) -> f32; 6] = [
        |u| 7.0 + u,
        |u| -7.0 - u,
        |_| 0.3,
        |_| -0.3,
        |_| 0.0,
        |u| (u - 0.5) * 1e-4,
    ];
    for block in blocks {
        let x: Vec<f32> = (0..32).map(|_| block(uniform())).collect();
        for dtype in WEIGHED {
            for importance in [[1.0f32; 32], [0.0; 32]] {
                let error =
                    |importance| squares(&x, &dequantize(dtype, &quantize(dtype, &x, importance)));
                let (with, without) = (error(Some(&importance[..])), error(None));
                // A minimum in f16 is off by 2^-11 of itself at most, in each of 32 values.
                let most = x.iter().fold(0f32, |most, x| most.max(x.abs()));
                let rounding = 32.0 * f64::from(most / 2048.0).powi(2);
                assert!(
                    with <= without + rounding,
                    "{dtype}: {with:e}, {without:e}, {x:?}"
                );
            }
        }
    }
}

#[test]
fn sizes_are_whole_blocks() {
    for &dtype in DType::ALL {
        let (len, bytes) = (dtype.block_len() as u64, dtype.block_bytes() as u64);
        assert_eq!(dtype.bytes_for(3 * len), Some(3 * bytes), "{dtype}");
        assert_eq!(dtype.bytes_for(0), Some(0), "{dtype}");
        if len > 1 {
            assert_eq!(dtype.bytes_for(len + 1), None, "{dtype}");
        }
        let overflows = u128::from(u64::MAX / len) * u128::from(bytes) > u128::from(u64::MAX);
        assert_eq!(
            dtype.bytes_for(u64::MAX / len * len).is_none(),
            overflows,
            "{dtype}"
        );
    }
}
