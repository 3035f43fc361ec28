//! Decoding allocates nothing: not in the layers, not in the sampler.
#![allow(unsafe_code)] // a counting allocator

mod common;

use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::{Context, ContextOptions};
use bise_tensor::threads::Threads;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_decoded_token_allocates_nothing() {
    for name in ["tiny-mistral", "tiny-mixtral"] {
        let model = common::model(name, "Q4_K_M");
        let mut context = Context::new(&model, ContextOptions::new(512)).unwrap();
        let mut sampler = Sampler::new(SamplerOptions {
            seed: Some(1),
            ..SamplerOptions::default()
        })
        .unwrap();
        let mut history = Vec::with_capacity(512);
        history.extend([1u32, 5, 9]);
        let counted = Threads::new(2).unwrap().run(|| {
            let mut step = |context: &mut Context<'_>, tokens: usize| {
                let logits = context.forward(&history[history.len() - tokens..]).unwrap();
                let token = sampler.sample(logits, &history).unwrap();
                history.push(token);
            };
            step(&mut context, 3);
            for _ in 0..20 {
                step(&mut context, 1); // each thread's first work may set things up
            }
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..200 {
                step(&mut context, 1);
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        });
        assert_eq!(counted, 0, "{name}: allocations in 200 tokens");
    }
}
