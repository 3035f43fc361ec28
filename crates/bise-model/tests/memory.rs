//! What a context is said to take is what it takes.

#[path = "../../../fuzz/src/counting.rs"]
mod counting;

use bise_kernels::threads::Threads;
use bise_model::{Context, ContextOptions, KvType, MemoryNeeds, Model};
use std::path::Path;

#[test]
fn contexts_take_what_is_said() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    for name in ["tiny-mixtral", "tiny-mistral", "random/mistral-head-dim"] {
        let (checkpoint, _) = bise_format::open(&fixtures.join(name)).unwrap();
        let model = Model::from_checkpoint(checkpoint).unwrap();
        for (length, batch, kv) in [(600, 512, KvType::F16), (2000, 64, KvType::F32)] {
            let options = ContextOptions {
                prefill_chunk: batch,
                kv,
                ..ContextOptions::new(length)
            };
            let needs = MemoryNeeds::of(model.checkpoint(), model.config(), &options);
            let tokens = vec![1; length];
            let run = || {
                let mut context = Context::new(&model, options).unwrap();
                context.forward(&tokens).unwrap();
                context.kv_bytes() as u64
            };
            // One thread, which is the one that counts, and has its own room from before. Pages of
            // keys and values come from the system.
            let (pages, peak) = Threads::new(1).unwrap().run(|| {
                run();
                counting::peak(run)
            });
            let peak = peak + pages;
            let said = needs.kv + needs.scratch;
            assert!(
                peak <= said && said <= peak + peak / 2,
                "{name}, batches of {batch}: {said} bytes said, {peak} taken"
            );
        }
    }
}
