//! The other operations: accurate, and the same bits at every level.

use bise_kernels::block::{Format, Q8_0};
use bise_kernels::isa::Level;
use bise_kernels::ops::{
    Attention, AttentionWorkspace, CHUNK, KeyValues, KvType, RopeTable, Temperature, add_scaled,
    attend, exp, rms_norm, store, swiglu,
};
use bise_kernels::threads::Threads;
use proptest::prelude::*;
use std::ops::Range;

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

/// Attention of every token to itself and up to `back` before it, in steps of some tokens.
#[derive(Debug)]
struct Case {
    kv_heads: usize,
    /// Query heads for each key head.
    group: usize,
    dim: usize,
    tokens: usize,
    back: usize,
    seed: u32,
}

/// Keys and values, `[head][chunk]`, for rows of which the first is at position `first`.
struct Cache<'a> {
    bytes: &'a [u8],
    chunks: usize,
    chunk_bytes: usize,
    first: usize,
    back: usize,
}

impl KeyValues for Cache<'_> {
    fn visible(&self, row: usize) -> Range<usize> {
        (self.first + row).saturating_sub(self.back)..self.first + row + 1
    }

    fn chunk(&self, _: usize, head: usize, c: usize) -> &[u8] {
        &self.bytes[(head * self.chunks + c) * self.chunk_bytes..][..self.chunk_bytes]
    }
}

impl Case {
    /// Values between -1 and 1 that f16 holds exactly.
    fn series(&self, len: usize, salt: u32) -> Vec<f32> {
        let value = |i: usize| {
            let x = (i as u32).wrapping_mul(2_654_435_761) ^ self.seed.wrapping_mul(salt);
            (x.wrapping_mul(2_246_822_519) >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|i| half::f16::from_f32(value(i)).to_f32()).collect()
    }

    /// `[tokens][heads][dim]`
    fn queries(&self) -> Vec<f32> {
        self.series(self.tokens * self.kv_heads * self.group * self.dim, 3)
    }

    /// Keys and values, each `[tokens][kv_heads][dim]`.
    fn keys_and_values(&self) -> [Vec<f32>; 2] {
        [5, 7].map(|salt| self.series(self.tokens * self.kv_heads * self.dim, salt))
    }

    /// The results, of `step` tokens at a time.
    fn run(&self, level: Level, kind: KvType, step: usize) -> Vec<f32> {
        let &Case {
            kv_heads,
            group,
            dim,
            tokens,
            ..
        } = self;
        let (queries, [keys, values]) = (self.queries(), self.keys_and_values());
        let (chunks, bytes) = (tokens.div_ceil(CHUNK), kind.chunk_bytes(dim));
        let mut cache = vec![0u8; kv_heads * chunks * bytes];
        let rows = keys.chunks_exact(dim).zip(values.chunks_exact(dim));
        for (i, (key, value)) in rows.enumerate() {
            let (position, head) = (i / kv_heads, i % kv_heads);
            let chunk = &mut cache[(head * chunks + position / CHUNK) * bytes..][..bytes];
            store(level, kind, position % CHUNK, [key, value], chunk);
        }
        let mut workspace = AttentionWorkspace::default();
        let mut out = vec![f32::NAN; queries.len()];
        let width = kv_heads * group * dim;
        for (i, out) in out.chunks_mut(step * width).enumerate() {
            let all = 0..out.len() / width;
            let attention = Attention {
                queries: &queries[i * step * width..][..out.len()],
                parts: std::slice::from_ref(&all),
                kv: &Cache {
                    bytes: &cache,
                    chunks,
                    chunk_bytes: bytes,
                    first: i * step,
                    back: self.back,
                },
                scale: 1.0,
                heads: kv_heads * group,
                kv_heads,
                head_dim: dim,
            };
            attend(level, kind, &attention, &mut workspace, out);
        }
        out
    }

    /// The results at all levels, equal bit for bit however many tokens and threads work at a time.
    fn one_result(&self, kind: KvType, step: usize, threads: usize) -> Vec<f32> {
        let expected = same_at_every_level(|level| self.run(level, kind, self.tokens));
        let pool = Threads::new(threads).unwrap();
        for step in [1, step] {
            let got = pool.run(|| self.run(Level::detect(), kind, step));
            assert_eq!(bits(&got), bits(&expected), "{self:?}, {step} tokens at a time");
        }
        expected
    }

    /// Checks results against softmax in f64.
    fn check(&self, got: &[f32], queries: &[f32], [keys, values]: &[Vec<f32>; 2]) {
        let &Case {
            kv_heads,
            group,
            dim,
            tokens,
            back,
            ..
        } = self;
        // A score sums dim products below 1: error dim eps * dim / 2 in the exponent; the chains
        // add n eps.
        let n = tokens.min(back.saturating_add(1)) as f64;
        let bound = f64::from(f32::EPSILON) * (dim as f64 * dim as f64 / 2.0 + n + 20.0);
        for (i, (query, got)) in queries.chunks_exact(dim).zip(got.chunks_exact(dim)).enumerate() {
            let (token, head) = (i / (kv_heads * group), i % (kv_heads * group) / group);
            let visible = token.saturating_sub(back)..token + 1;
            let at = |j: usize| (j * kv_heads + head) * dim..(j * kv_heads + head + 1) * dim;
            let product = |(k, q): (&f32, &f32)| f64::from(*k) * f64::from(*q);
            let score = |j| keys[at(j)].iter().zip(query).map(product).sum::<f64>();
            let weights: Vec<f64> = visible.clone().map(|j| score(j).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut exact = vec![0.0; dim];
            for (j, w) in visible.zip(&weights) {
                for (exact, v) in exact.iter_mut().zip(&values[at(j)]) {
                    *exact += w * f64::from(*v) / total;
                }
            }
            for (got, exact) in got.iter().zip(exact) {
                let error = (f64::from(*got) - exact).abs();
                assert!(error <= bound, "{self:?}, token {token}: {got} against {exact}");
            }
        }
    }
}

/// Up to 32 values, stored in Q8_0 and read again.
fn through_q8_0(x: &[f32]) -> Vec<f32> {
    let (mut values, mut block) = ([0f32; 32], [0u8; 34]);
    values[..x.len()].copy_from_slice(x);
    Q8_0::quantize(&values, None, &mut block);
    Q8_0::dequantize(&block, &mut values);
    values[..x.len()].to_vec()
}

fn cases() -> impl Strategy<Value = Case> {
    let shapes = (
        1usize..3,
        prop_oneof![1usize..8, Just(16)],
        prop_oneof![Just(2usize), Just(16), Just(20), Just(40), Just(128), 1usize..100],
    );
    let lengths = (
        prop_oneof![1usize..150, 1usize..150, 1usize..150, 500usize..560],
        prop_oneof![0usize..700, Just(1 << 40)],
        0u32..1000,
    );
    (shapes, lengths).prop_map(|((kv_heads, group, dim), (tokens, back, seed))| Case {
        kv_heads,
        group,
        dim,
        tokens,
        back,
        seed,
    })
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
        // 16 chains of n / 16 steps, the tree, square root, division and two products: each half a
        // unit.
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
            let mut out = vec![0.0; gate.len()];
            swiglu(level, &gate, &up, &mut out);
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
            let mut table = RopeTable::new(frequencies(), 1.0, None, 1);
            table.set([position]);
            let mut x = x.to_vec();
            table.rotate_keys(level, &mut x, 24);
            x
        });
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let near = dot(&rotated(&q, 5), &rotated(&k, 2));
        let far = dot(&rotated(&q, at + 5), &rotated(&k, at + 2));
        // An angle near 3000 is rounded to 2^-13; 12 pairs of products up to 8 turn by at most
        // twice that.
        prop_assert!((near - far).abs() <= 12.0 * 8.0 * 2.0 / 8192.0, "{near} {far}");
        prop_assert!((dot(&rotated(&q, at), &rotated(&q, at)) - dot(&q, &q)).abs() <= 1e-5 * dot(&q, &q).max(1.0));
    }

    #[test]
    fn queries_grow_by_steps_and_all_rotated_values_by_the_magnitude(
        q in proptest::collection::vec(-2f32..2.0, 32), at in 0usize..3000, length in 1usize..200,
        beta in 0f32..0.5, magnitude in 0.5f32..2.0,
    ) {
        // The last eight of 32 values are not rotated.
        let rotated = |magnitude, temperature, queries| same_at_every_level(|level| {
            let mut table = RopeTable::new(frequencies(), magnitude, temperature, 1);
            table.set([at]);
            let mut x = q.clone();
            if queries { table.rotate_queries(level, &mut x, 32) } else { table.rotate_keys(level, &mut x, 32) }
            x
        });
        let temperature = Temperature { beta, length };
        let keys = rotated(1.0, None, false);
        prop_assert_eq!(&rotated(1.0, None, true), &keys);
        prop_assert_eq!(&rotated(1.0, Some(temperature), false), &keys);
        let expected = 1.0 + f64::from(beta) * (1.0 + (at / length) as f64).ln();
        for (got, key) in rotated(1.0, Some(temperature), true).iter().zip(&keys) {
            prop_assert!((f64::from(*got) - expected * f64::from(*key)).abs() <= 1e-6 * f64::from(got.abs()));
        }
        for (i, (got, key)) in rotated(magnitude, None, false).iter().zip(&keys).enumerate() {
            let expected = if i < 24 { magnitude * key } else { *key };
            prop_assert!((got - expected).abs() <= 1e-6, "{i}: {got} {expected}");
        }
    }
}

/// Of 24 rotated values, at base 10000.
fn frequencies() -> Vec<f32> {
    (0..12).map(|i| 1e4f32.powf(-2.0 * i as f32 / 24.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn attention_agrees_with_f64(case in cases(), step in 1usize..100, threads in 1usize..4) {
        let got = case.one_result(KvType::F16, step, threads);
        prop_assert_eq!(bits(&got), bits(&case.run(Level::detect(), KvType::F32, step)), "values that f16 holds exactly");
        case.check(&got, &case.queries(), &case.keys_and_values());
    }

    #[test]
    fn attention_in_q8_0_agrees_with_f64(case in cases(), step in 1usize..100, threads in 1usize..4) {
        let got = case.one_result(KvType::Q8_0, step, threads);
        let blocks = |x: Vec<f32>| x.chunks(case.dim).flat_map(|head| head.chunks(32)).flat_map(through_q8_0).collect::<Vec<_>>();
        case.check(&got, &blocks(case.queries()), &case.keys_and_values().map(blocks));
    }
}
