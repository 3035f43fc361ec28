//! The other operations: accurate, and the same bits at every level.

use bise_tensor::block::{F16, F32, Format};
use bise_tensor::isa::Level;
use bise_tensor::ops::{Attention, CHUNK, KvChunk, RopeTable, add_scaled, attend, exp, rms_norm, swiglu};
use proptest::prelude::*;

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Runs `work` at each level and checks that all give the scalar level's bits.
fn same_at_every_level(work: impl Fn(Level) -> Vec<f32>) -> Vec<f32> {
    let expected = work(Level::SCALAR);
    for level in Level::available() {
        assert_eq!(bits(&work(level)), bits(&expected), "{level}");
    }
    expected
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let mut worst = (0.0, 0.0);
    for bits in (0u32..=u32::MAX).step_by(97) {
        let x = f32::from_bits(bits);
        if !(-87.0..=88.0).contains(&x) {
            continue;
        }
        let exact = libm::exp(f64::from(x));
        let unit = f64::from(f32::from_bits((exact as f32).to_bits() + 1) - exact as f32);
        let error = (f64::from(exp(x)) - exact).abs() / unit;
        if error > worst.1 {
            worst = (x, error);
        }
    }
    assert!(worst.1 <= 2.0, "exp({}) is off by {} units", worst.0, worst.1);
}

#[test]
fn exp_at_the_ends() {
    assert_eq!(exp(0.0), 1.0);
    assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    assert_eq!(exp(-88.0), 0.0);
    assert_eq!(exp(f32::INFINITY), f32::INFINITY);
    assert!(exp(f32::NAN).is_nan());
}

/// Keys and values of positions `0..n` in chunks, as the cache lays them out, in format `F`.
fn chunks<F: Format>(keys: &[f32], values: &[f32], dim: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let stride = dim.next_multiple_of(16);
    let store = |x: f32, bytes: &mut [u8], at: usize| {
        F::quantize(&[x], None, &mut bytes[at * F::BYTES..][..F::BYTES])
    };
    let mut chunks = vec![
        (
            vec![0xff; dim * CHUNK * F::BYTES],
            vec![0xff; stride * CHUNK * F::BYTES]
        );
        (keys.len() / dim).div_ceil(CHUNK)
    ];
    for (j, (k, v)) in keys.chunks_exact(dim).zip(values.chunks_exact(dim)).enumerate() {
        let (kc, vc) = &mut chunks[j / CHUNK];
        for d in 0..dim {
            store(k[d], kc, d * CHUNK + j % CHUNK);
            store(v[d], vc, j % CHUNK * stride + d);
        }
        for d in dim..stride {
            store(0.0, vc, j % CHUNK * stride + d);
        }
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rms_norm_agrees_with_f64(x in proptest::collection::vec(-9f32..9.0, 1..70)) {
        let weight: Vec<f32> = (0..x.len()).map(|i| 0.5 + i as f32 / 50.0).collect();
        let got = same_at_every_level(|level| {
            let mut out = vec![0.0; x.len()];
            rms_norm(level, &x, &weight, 1e-5, &mut out);
            out
        });
        let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
        // 16 chains of n / 16 steps, the tree, square root, division and two products: each half a unit.
        let bound = (x.len() as f64 / 16.0 + 10.0) * f64::from(f32::EPSILON);
        for i in 0..x.len() {
            let exact = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(weight[i]);
            prop_assert!((f64::from(got[i]) - exact).abs() <= bound * exact.abs(), "{} against {exact} at {i}", got[i]);
        }
    }

    #[test]
    fn swiglu_agrees_with_f64(gate in proptest::collection::vec(-40f32..40.0, 1..50)) {
        let up: Vec<f32> = gate.iter().rev().copied().collect();
        let got = same_at_every_level(|level| {
            let mut out = gate.clone();
            swiglu(level, &mut out, &up);
            add_scaled(level, 0.25, &up, &mut out);
            out
        });
        for i in 0..gate.len() {
            let (g, u) = (f64::from(gate[i]), f64::from(up[i]));
            let product = g / (1.0 + (-g).exp()) * u;
            let bound = 6.0 * f64::from(f32::EPSILON) * (product.abs() + u.abs());
            prop_assert!((f64::from(got[i]) - (product + 0.25 * u)).abs() <= bound);
        }
    }

    #[test]
    fn rotation_keeps_lengths_and_depends_on_distance_only(
        q in proptest::collection::vec(-2f32..2.0, 24), k in proptest::collection::vec(-2f32..2.0, 24), at in 0usize..3000,
    ) {
        let rotated = |x: &[f32], position| same_at_every_level(|level| {
            let mut table = RopeTable::new(24, 1e4, 1);
            table.set(position, 1);
            let mut x = x.to_vec();
            table.rotate(level, &mut x, 24);
            x
        });
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let near = dot(&rotated(&q, 5), &rotated(&k, 2));
        let far = dot(&rotated(&q, at + 5), &rotated(&k, at + 2));
        // An angle near 3000 is rounded to 2^-13; 12 pairs of products up to 8 turn by at most twice that.
        prop_assert!((near - far).abs() <= 12.0 * 8.0 * 2.0 / 8192.0, "{near} {far}");
        prop_assert!((dot(&rotated(&q, at), &rotated(&q, at)) - dot(&q, &q)).abs() <= 1e-5 * dot(&q, &q).max(1.0));
    }

    #[test]
    fn attention_agrees_with_f64(
        dim in prop_oneof![Just(2usize), Just(16), Just(20), Just(128)], n in 1usize..200, back in 1usize..220, seed in 0u32..1000,
    ) {
        let value = |i: usize, salt: u32| {
            let x = (i as u32).wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(salt);
            (x.wrapping_mul(2_246_822_519) >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let series = |len: usize, salt| (0..len).map(|i| half::f16::from_f32(value(i, salt)).to_f32()).collect::<Vec<_>>();
        let (query, keys, values) = (series(dim, 3), series(n * dim, 5), series(n * dim, 7));
        let visible = n.saturating_sub(back)..n;
        let run = |f16: bool| same_at_every_level(|level| {
            let store = if f16 { chunks::<F16>(&keys, &values, dim) } else { chunks::<F32>(&keys, &values, dim) };
            let chunk = |c: usize| KvChunk { keys: &store[c].0, values: &store[c].1 };
            let mut out = vec![f32::NAN; dim];
            let attention = Attention { query: &query, visible: visible.clone(), chunk, out: &mut out };
            if f16 { attend::<F16>(level, attention) } else { attend::<F32>(level, attention) }
            out
        });
        let got = run(true);
        prop_assert_eq!(bits(&got), bits(&run(false)), "values that f16 holds exactly");
        let row = |x: &[f32], j: usize| x[j * dim..(j + 1) * dim].iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let score = |j: usize| row(&keys, j).iter().zip(&query).map(|(k, &q)| k * f64::from(q)).sum::<f64>();
        let weights: Vec<f64> = visible.clone().map(|j| score(j).exp()).collect();
        let total: f64 = weights.iter().sum();
        // A score sums dim products below 1: error dim eps * dim / 2 in the exponent; the chains add n eps.
        let bound = f64::from(f32::EPSILON) * (dim as f64 * dim as f64 / 2.0 + n as f64 + 20.0);
        for (d, got) in got.iter().enumerate() {
            let exact = visible.clone().zip(&weights).map(|(j, w)| w * row(&values, j)[d]).sum::<f64>() / total;
            prop_assert!((f64::from(*got) - exact).abs() <= bound, "{got} against {exact} at {d}");
        }
    }
}
