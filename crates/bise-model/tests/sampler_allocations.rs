//! After the first token, sampling allocates nothing.

mod counting;

use bise_model::sampler::{Breakers, DryOptions, Sampler, SamplerKind, SamplerOptions};
use counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn sampling_allocates_in_its_first_call_only() {
    let logits: Vec<f32> = (0..32000u32)
        .map(|i| (i * 7919 % 32000) as f32 / 2000.0)
        .collect();
    let history: Vec<u32> = (0..500).map(|i| i % 90).collect();
    let texts: Vec<String> = (0..32000).map(|id| format!("{id:x}")).collect();
    let all = SamplerOptions {
        repeat_penalty: 1.1,
        frequency_penalty: 0.1,
        typical: 0.9,
        xtc_probability: 0.5,
        dry: DryOptions {
            multiplier: 0.8,
            breakers: Breakers::new(&["77", "ff"], texts.iter()),
            ..DryOptions::default()
        },
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
        SamplerOptions {
            samplers: SamplerKind::MIROSTAT.to_vec(),
            ..all.clone()
        },
        all,
    ] {
        let mut sampler = Sampler::new(options.clone()).unwrap();
        // Room for the history, too.
        sampler.sample(&logits, &history).unwrap();
        let before = allocations();
        for n in 2..32 {
            sampler.sample(&logits, &history[..n]).unwrap();
        }
        assert_eq!(allocations(), before, "{options:?}");
    }
}
