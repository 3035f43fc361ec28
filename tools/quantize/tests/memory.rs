//! Memory is a few slabs of rows, however large the model or its largest tensor.

mod directory;

use bise_quantize::{Options, Progress, Target, quantize};
use directory::with_tensors;
use safetensors::Dtype;
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Counts the bytes in use by all threads, and the most there have been.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` unchanged; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `System` made the pointer.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Adds up what it hears.
#[derive(Default)]
struct Sum {
    announced: Cell<u64>,
    done: Cell<u64>,
}

impl Progress for Sum {
    fn start(&self, bytes: u64) {
        self.announced.set(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
    }

    fn finish(&self) {
        assert_eq!(self.announced, self.done);
    }
}

const MIB: usize = 1 << 20;

/// Quantizes `src` with two threads; gives the most bytes in use meanwhile.
fn peak(src: &Path, target: &str) -> usize {
    let options = Options {
        threads: Some(2),
        ..Options::new(Target::from_name(target).unwrap())
    };
    let progress = Sum::default();
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let report = quantize(src, &src.join("out.gguf"), &options, &progress).unwrap();
    assert_eq!(report.source_len, progress.done.get());
    let peak = PEAK.load(Ordering::Relaxed) - before;
    println!(
        "{target}: {} MiB of {} at most",
        peak / MIB,
        report.source_len as usize / MIB
    );
    peak
}

/// A slab is at most 2 MiB here. Ten are in use: a window of 6 before the thread that hashes, one
/// there, two between it and the writer, and one there. The rest is small: rows as floats, headers,
/// names. With t threads there are 2 t + 6 slabs.
#[test]
fn large_tensors_pass_in_slabs() {
    let src = TempDir::new().unwrap();
    let model = with_tensors(json!({
        "architectures": ["MistralForCausalLM"], "hidden_size": 512, "intermediate_size": 256,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 50_000,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    }));
    model.write(src.path(), Dtype::F32);
    drop(model);
    for target in ["Q8_0", "F32"] {
        assert!(peak(src.path(), target) <= 24 * MIB);
    }

    // As wide as Mixtral 8x22B, and its experts as many.
    let src = TempDir::new().unwrap();
    let model = with_tensors(json!({
        "architectures": ["MixtralForCausalLM"], "hidden_size": 256, "intermediate_size": 16384,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 100,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "num_local_experts": 8, "num_experts_per_tok": 2,
    }));
    model.write(src.path(), Dtype::BF16);
    drop(model);
    assert!(peak(src.path(), "F32") <= 24 * MIB);
}
