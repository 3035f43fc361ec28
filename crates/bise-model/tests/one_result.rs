//! The same bits at every level, thread count and batch size, for every format.

mod common;

use bise_kernels::block::DType;
use bise_kernels::isa::Level;
use bise_model::{Context, ContextOptions, ForwardError, KvType, MemoryNeeds, Model};
use common::{Golden, bits, differing, logits, model, tokens, type_file};
use proptest::prelude::*;
use std::sync::LazyLock;

static MODELS: LazyLock<Vec<(String, Model)>> = LazyLock::new(|| {
    let mut models = Vec::new();
    for directory in ["tiny-mistral", "tiny-mixtral"] {
        for dtype in DType::ALL.iter().filter(|t| t.can_quantize()) {
            models.push((format!("{directory} {dtype}"), model(directory, dtype.name())));
        }
    }
    let read_only = |t: &&DType| !t.can_quantize() && t.id().is_some();
    for &dtype in DType::ALL.iter().filter(read_only) {
        models.push((dtype.to_string(), Model::from_bytes(type_file(dtype)).unwrap()));
    }
    for directory in [
        "random/mistral-window-7",
        "random/mistral-head-dim",
        "random/mixtral-4-top-3",
    ] {
        models.push((directory.to_owned(), model(directory, "F32")));
    }
    models
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn levels_threads_and_batches_agree(
        which in 0..MODELS.len(), threads in 1usize..5, kv in prop_oneof![Just(KvType::F16), Just(KvType::F32), Just(KvType::Q8_0)],
        batches in proptest::collection::vec(prop_oneof![Just(1usize), Just(3), Just(64), 1usize..20], 1..4),
        seed in 0u32..1000, n in 1usize..90,
    ) {
        let (name, model) = &MODELS[which];
        let tokens: Vec<u32> = tokens(model, n, seed);
        let differing = differing(model, &tokens, kv, threads, &batches);
        prop_assert!(differing.is_empty(), "{name}, {threads} threads: {differing:?}");
    }

    #[test]
    fn prefill_equals_token_by_token(
        which in 0..MODELS.len(), kv in prop_oneof![Just(KvType::F16), Just(KvType::Q8_0)],
        cuts in proptest::collection::vec(1usize..40, 1..5),
    ) {
        let (name, model) = &MODELS[which];
        let total: usize = cuts.iter().sum();
        let tokens: Vec<u32> = (0..total as u32).map(|i| (i * 7 + 3) % model.vocabulary_size() as u32).collect();
        let options = ContextOptions { kv, ..ContextOptions::new(total) };
        let every = bits(&logits(model, &tokens, options));
        let mut context = Context::new(model, options).unwrap();
        let (mut done, vocabulary) = (0, model.vocabulary_size());
        for cut in cuts {
            let last = bits(context.forward(&tokens[done..done + cut]).unwrap());
            done += cut;
            prop_assert!(last == every[(done - 1) * vocabulary..done * vocabulary], "{name}: after {done} tokens");
        }
    }
}

/// The levels agree along a whole golden text, past two windows, for the recipe that mixes formats.
#[test]
fn a_long_text_agrees() {
    for name in ["tiny-mistral", "tiny-mixtral"] {
        let (model, golden) = (
            model(name, "Q4_K_M"),
            Golden::read(&format!("{name}.safetensors")),
        );
        let options = ContextOptions {
            level: Level::SCALAR,
            ..ContextOptions::new(golden.tokens.len())
        };
        let expected = bits(&logits(&model, &golden.tokens, options));
        for level in Level::available() {
            for batch in [1, 3, 64, 512] {
                let options = ContextOptions {
                    level,
                    prefill_chunk: batch,
                    ..options
                };
                assert!(
                    bits(&logits(&model, &golden.tokens, options)) == expected,
                    "{name}, {level}, {batch}"
                );
            }
        }
    }
}

#[test]
fn a_full_context_is_an_error_with_counts() {
    let model = model("tiny-mixtral", "Q8_0");
    let mut context = Context::new(&model, ContextOptions::new(10)).unwrap();
    context.forward(&[1, 5, 6, 7]).unwrap();
    let error = context.forward(&[8; 7]).unwrap_err();
    assert_eq!(
        error,
        ForwardError::ContextFull {
            capacity: 10,
            used: 4,
            more: 7
        }
    );
    assert_eq!(context.len(), 4);
    context.forward(&[8; 6]).unwrap();
    assert!(context.forward(&[8]).is_err());
}

#[test]
fn a_window_takes_any_number_of_tokens_in_constant_memory() {
    let model = model("tiny-mistral", "Q8_0");
    let options = ContextOptions::new(10);
    let needs = MemoryNeeds::of(model.checkpoint(), model.config(), &options);
    let mut context = Context::new(&model, options).unwrap();
    let mut most = 0;
    for i in 0..400 {
        context.forward(&[8; 10]).unwrap();
        let bytes = context.kv_bytes();
        assert!(
            bytes as u64 <= needs.kv,
            "{bytes} bytes after {} tokens",
            context.len()
        );
        if i >= 40 {
            assert!(bytes <= most, "{bytes} bytes after {} tokens", context.len());
        }
        most = most.max(bytes);
    }
    assert_eq!(context.len(), 4000);
}

#[test]
fn an_unknown_token_is_an_error() {
    let model = model("tiny-mistral", "Q8_0");
    let mut context = Context::new(&model, ContextOptions::new(10)).unwrap();
    let vocabulary = model.vocabulary_size();
    assert_eq!(
        context.forward(&[vocabulary as u32]),
        Err(ForwardError::Token {
            token: vocabulary as u32,
            vocabulary
        })
    );
}
