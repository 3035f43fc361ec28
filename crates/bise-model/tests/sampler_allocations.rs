//! After the first token, sampling allocates nothing.

mod counting;

use bise_model::sampler::{Sampler, SamplerOptions};
use counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn sampling_allocates_in_its_first_call_only() {
    let logits: Vec<f32> = (0..32000u32)
        .map(|i| (i * 7919 % 32000) as f32 / 2000.0)
        .collect();
    let history: Vec<u32> = (0..500).collect();
    let all = SamplerOptions {
        repeat_penalty: 1.1,
        seed: Some(5),
        ..Default::default()
    };
    for options in [
        SamplerOptions {
            top_k: 0,
            ..all.clone()
        },
        SamplerOptions {
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            ..all.clone()
        },
        SamplerOptions {
            temperature: 0.0,
            ..all.clone()
        },
        all,
    ] {
        let mut sampler = Sampler::new(options.clone()).unwrap();
        sampler.sample(&logits, &history[..1]).unwrap();
        let before = allocations();
        for n in 2..102 {
            sampler.sample(&logits, &history[..n]).unwrap();
        }
        assert_eq!(allocations(), before, "{options:?}");
    }
}
