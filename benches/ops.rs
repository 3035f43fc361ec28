//! What is not a matrix product, at the shapes of Mistral 7B: none of it should show in a profile.

use bise_benches::{OfRoofline, criterion, values};
use bise_kernels::isa::Level;
use bise_kernels::ops::{
    Attention, AttentionWorkspace, CHUNK, KeyValues, KvType, RopeTable, attend, rms_norm, store,
    swiglu,
};
use bise_kernels::threads::for_each_piece;
use bise_model::sampler::{Sampler, SamplerOptions};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::ops::Range;

const DIM: usize = 4096;
const HIDDEN: usize = 14336;
const HEADS: usize = 32;
const KV_HEADS: usize = 8;
const HEAD_DIM: usize = 128;
const VOCABULARY: usize = 32768;

/// Keys and values of `positions` positions, of all key heads; the last `tokens` are looked from.
struct Cache {
    tokens: usize,
    positions: usize,
    chunks: usize,
    chunk_bytes: usize,
    bytes: Vec<u8>,
}

impl Cache {
    fn filled(kind: KvType, tokens: usize, positions: usize) -> Self {
        let (chunks, chunk_bytes) = (positions.div_ceil(CHUNK), kind.chunk_bytes(HEAD_DIM));
        let mut bytes = vec![0; KV_HEADS * chunks * chunk_bytes];
        let some = values(2 * HEAD_DIM * CHUNK);
        for chunk in bytes.chunks_exact_mut(chunk_bytes) {
            for (j, pair) in some.chunks_exact(2 * HEAD_DIM).enumerate() {
                let (key, value) = pair.split_at(HEAD_DIM);
                store(Level::detect(), kind, j, [key, value], chunk);
            }
        }
        Self {
            tokens,
            positions,
            chunks,
            chunk_bytes,
            bytes,
        }
    }
}

impl KeyValues for Cache {
    fn visible(&self, row: usize) -> Range<usize> {
        0..self.positions - self.tokens + row + 1
    }

    fn chunk(&self, _: usize, head: usize, c: usize) -> &[u8] {
        &self.bytes[(head * self.chunks + c) * self.chunk_bytes..][..self.chunk_bytes]
    }
}

/// The last `tokens` of `positions` tokens attend to all before them.
fn attention(c: &mut Criterion<OfRoofline>, kind: KvType, tokens: usize, positions: usize) {
    let cache = Cache::filled(kind, tokens, positions);
    let mut group = c.benchmark_group(format!("attention, {tokens} tokens of {positions}"));
    group.throughput(if tokens == 1 {
        Throughput::Bytes(cache.bytes.len() as u64)
    } else {
        Throughput::Elements((4 * HEADS * HEAD_DIM * tokens * (positions - tokens / 2)) as u64)
    });
    let queries = values(tokens * HEADS * HEAD_DIM);
    let mut out = vec![0.0; queries.len()];
    let mut workspace = AttentionWorkspace::default();
    let all = 0..tokens;
    let attention = Attention {
        queries: &queries,
        parts: std::slice::from_ref(&all),
        kv: &cache,
        scale: 0.1,
        heads: HEADS,
        kv_heads: KV_HEADS,
        head_dim: HEAD_DIM,
    };
    for level in Level::available().into_iter().skip(1) {
        group.bench_function(BenchmarkId::new(format!("{kind:?}"), level), |b| {
            b.iter(|| attend(level, kind, &attention, &mut workspace, &mut out));
        });
    }
    group.finish();
}

fn attentions(c: &mut Criterion<OfRoofline>) {
    for (tokens, positions) in [(1, 16384), (512, 8192)] {
        attention(c, KvType::F16, tokens, positions);
        attention(c, KvType::Q8_0, tokens, positions);
    }
}

fn elementwise(c: &mut Criterion<OfRoofline>) {
    let level = Level::detect();
    for tokens in [1, 512] {
        let mut group = c.benchmark_group(format!("elementwise, {tokens} tokens"));
        let (x, weight) = (values(tokens * DIM), values(DIM));
        let mut out = vec![0.0; x.len()];
        group.throughput(Throughput::Bytes(8 * x.len() as u64));
        group.bench_function("rms_norm", |b| {
            b.iter(|| {
                for_each_piece(&mut out, DIM, |n, out| {
                    rms_norm(level, &x[n * DIM..][..DIM], &weight, 1e-5, out);
                });
            });
        });
        let frequencies = (0..HEAD_DIM / 2).map(|i| 1e6f32.powf(-2.0 * i as f32 / HEAD_DIM as f32));
        let mut rope = RopeTable::new(frequencies.collect(), 1.0, None, tokens);
        rope.set(1000..1000 + tokens);
        group.bench_function("rope", |b| {
            b.iter(|| rope.rotate_queries(level, &mut out, HEAD_DIM))
        });
        let (gate, up) = (values(tokens * HIDDEN), values(tokens * HIDDEN));
        let mut hidden = vec![0.0; up.len()];
        group.throughput(Throughput::Bytes(12 * up.len() as u64));
        group.bench_function("swiglu", |b| {
            b.iter(|| {
                for_each_piece(&mut hidden, HIDDEN, |n, out| {
                    let here = n * HIDDEN..(n + 1) * HIDDEN;
                    swiglu(level, &gate[here.clone()], &up[here], out);
                });
            });
        });
        group.finish();
    }
}

fn sampling(c: &mut Criterion<OfRoofline>) {
    let mut group = c.benchmark_group(format!("a token of {VOCABULARY}"));
    let logits: Vec<f32> = values(VOCABULARY).iter().map(|x| 10.0 * x).collect();
    group.throughput(Throughput::Bytes(4 * VOCABULARY as u64));
    for (name, options) in [
        ("greedy", SamplerOptions::greedy()),
        ("default", SamplerOptions::default()),
    ] {
        let mut sampler = Sampler::new(options).expect("sound options");
        group.bench_function(name, |b| {
            b.iter(|| sampler.sample(&logits, &[1, 2, 3]).expect("a token"))
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = attentions, elementwise, sampling }
criterion_main!(benches);
