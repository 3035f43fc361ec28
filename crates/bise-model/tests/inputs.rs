//! Sums of squared inputs: what they are, and the same bits however the text is processed.

mod common;

use bise_kernels::isa::Level;
use bise_kernels::threads::Threads;
use bise_model::{Context, ContextOptions, InputSums, Model};
use common::model;

fn watch(model: &Model, tokens: &[u32], options: ContextOptions) -> Vec<InputSums> {
    let mut context = Context::new(model, options).unwrap();
    context.collect_activation_statistics();
    context.forward_all(tokens, |_| {}).unwrap();
    context.take_activation_statistics()
}

fn tokens(n: u32) -> Vec<u32> {
    (0..n).map(|i| i.wrapping_mul(2_654_435_761) % 1000 + 1).collect()
}

#[test]
fn the_same_bits_for_any_batch_threads_and_level() {
    for name in ["tiny-mistral", "tiny-mixtral"] {
        let model = model(name, "Q8_0");
        let tokens = tokens(100);
        let options = ContextOptions {
            prefill_chunk: 100,
            ..ContextOptions::new(100)
        };
        let expected = watch(&model, &tokens, options);
        for (batch, threads, level) in [
            (1, 2, Level::detect()),
            (7, 1, Level::detect()),
            (33, 3, Level::SCALAR),
        ] {
            let options = ContextOptions {
                prefill_chunk: batch,
                level,
                ..options
            };
            let found = Threads::new(threads)
                .unwrap()
                .run(|| watch(&model, &tokens, options));
            assert!(
                found == expected,
                "{name}: batches of {batch} on {threads} threads at {level}"
            );
        }
    }
}

#[test]
fn every_matrix_has_sums_of_its_inputs() {
    for (name, experts) in [("tiny-mistral", 1), ("tiny-mixtral", 8)] {
        let model = model(name, "F32");
        let tokens = tokens(64);
        let sums = watch(&model, &tokens, ContextOptions::new(64));
        let vectors = ["token_embd.weight", "output_norm.weight"];
        let tensors = &model.checkpoint().tensors;
        let matrices = tensors.iter().filter(|(name, tensor)| {
            let other = vectors.contains(&name.as_str()) || name.contains("ffn_gate_inp");
            tensor.shape().len() > 1 && !other
        });
        let mut expected: Vec<&str> = matrices.map(|(name, _)| name.as_str()).collect();
        let mut found: Vec<&str> = sums.iter().map(|sums| sums.name.as_str()).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        for sums in &sums {
            let columns = tensors[&sums.name].cols();
            let matrices = if sums.name.contains("_exps") { experts } else { 1 };
            assert_eq!(
                (sums.counts.len(), sums.sums.len()),
                (matrices, columns * matrices)
            );
            // Two of eight experts see each token.
            let seen: u64 = sums.counts.iter().sum();
            assert_eq!(seen, if matrices > 1 { 128 } else { 64 }, "{}", sums.name);
        }
        // A normalised input has a mean square near that of the norm's weights: RMSNorm makes it 1
        // before them.
        let attention = &sums[0];
        assert_eq!(
            (attention.name.as_str(), tensors["blk.0.attn_norm.weight"].cols()),
            ("blk.0.attn_q.weight", 256)
        );
        let total: f64 = attention.sums.iter().sum::<f64>() / 64.0 / 256.0;
        assert!((0.1..10.0).contains(&total), "{total}");
    }
}

#[test]
fn without_a_watch_nothing_is_summed() {
    let model = model("tiny-mistral", "Q8_0");
    let mut context = Context::new(&model, ContextOptions::new(10)).unwrap();
    context.forward(&[1, 2, 3]).unwrap();
    assert!(context.take_activation_statistics().is_empty());
    context.collect_activation_statistics();
    context.forward(&[4]).unwrap();
    let sums = context.take_activation_statistics();
    assert_eq!(sums[0].counts, [1]);
    assert!(context.take_activation_statistics().is_empty());
}
