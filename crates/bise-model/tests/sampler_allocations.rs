//! After the first token, sampling allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bise_model::sampler::{Sampler, SamplerOptions};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system allocator unchanged, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`; `pointer` came from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

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
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let start = std::time::Instant::now();
        for n in 2..102 {
            sampler.sample(&logits, &history[..n]).unwrap();
        }
        let elapsed = start.elapsed() / 100;
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before, "{options:?}");
        println!("{elapsed:?} a token: {options:?}");
    }
}
