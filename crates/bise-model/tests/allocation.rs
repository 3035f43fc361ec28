//! Decoding allocates nothing: not in the layers, not in the sampler.

mod common;
mod counting;

use bise_format::adapter::{Adapter, ScaledAdapter};
use bise_kernels::threads::Threads;
use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::{Context, ContextOptions, LoadOptions, Model};
use counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn adapter(name: &str) -> ScaledAdapter {
    let (adapter, _) = Adapter::open(&common::fixture("adapters").join(name)).unwrap();
    ScaledAdapter {
        adapter,
        scale: 1.0,
    }
}

#[test]
fn a_decoded_token_allocates_nothing() {
    let mut models: Vec<(&str, Model)> = ["tiny-mistral", "tiny-mixtral"]
        .map(|name| (name, common::model(name, "Q4_K_M")))
        .into();
    // With adapters of all matrices, embeddings and experts too.
    for (name, base, adapters) in [
        (
            "a Mistral's adapters",
            "random/mistral-no-window",
            &["plain", "outside"][..],
        ),
        ("a Mixtral's adapter", "random/mixtral-4-top-3", &["experts"]),
    ] {
        let adapters: Vec<_> = adapters.iter().map(|name| adapter(name)).collect();
        let options = LoadOptions {
            adapters: &adapters,
            ..LoadOptions::default()
        };
        let (checkpoint, _) = bise_format::open(&common::fixture(base)).unwrap();
        models.push((name, Model::load(checkpoint, &options).unwrap()));
    }
    for (name, model) in models {
        let mut context = Context::new(&model, ContextOptions::new(512)).unwrap();
        let mut sampler = Sampler::new(SamplerOptions {
            seed: Some(1),
            ..SamplerOptions::default()
        })
        .unwrap();
        let mut history = Vec::with_capacity(512);
        history.extend([1u32, 5, 9]);
        let counted = Threads::new(2).unwrap().run(|| {
            let mut step = |context: &mut Context, tokens: usize| {
                let logits = context.forward(&history[history.len() - tokens..]).unwrap();
                let token = sampler.sample(logits, &history).unwrap();
                history.push(token);
            };
            step(&mut context, 3);
            for _ in 0..20 {
                step(&mut context, 1); // each thread's first work may set things up
            }
            // Each 64 tokens keys and values take a new page in each layer.
            let mut in_a_page = || {
                while !context.len().is_multiple_of(64) {
                    step(&mut context, 1);
                }
                step(&mut context, 1);
                let before = allocations();
                (0..63).for_each(|_| step(&mut context, 1));
                allocations() - before
            };
            [(); 4].map(|()| in_a_page())
        });
        // On a machine that is busy a thread's first work may come late: it sets up at most two
        // things.
        let (least, all) = (counted.iter().min(), counted.iter().sum::<usize>());
        assert!(
            least == Some(&0) && all <= 4,
            "{name}: {counted:?} allocations in 63 tokens each"
        );
    }
}
