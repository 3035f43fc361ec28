//! A model run a layer at a time says what it says as a whole.

mod common;

use bise_format::checkpoint::Checkpoint;
use bise_kernels::mmap::FileBytes;
use bise_model::streamed::{StreamedError, logits_after};
use bise_model::{Context, ContextOptions, LoadError, Model};
use common::{bits, file};

#[test]
fn layer_by_layer_gives_the_same_bits() {
    for (name, target) in [
        ("random/mistral-window-7", "F32"),
        ("random/mistral-tied", "Q8_0"),
        ("random/mixtral-4-top-3", "F16"),
        ("tiny-mixtral", "Q4_K_M"),
    ] {
        let file = FileBytes::from_vec(file(name, target));
        let open = || Checkpoint::from_bytes(file.clone()).unwrap();
        let prompts = [
            vec![1, 5, 9, 2, 30, 7, 8, 9, 11, 12, 4],
            vec![3],
            vec![1, 2, 3, 4],
        ];
        let streamed = logits_after(open(), &[], &prompts, u64::MAX, &|_, _| {}).unwrap();
        let model = Model::from_bytes(file.clone()).unwrap();
        for (prompt, streamed) in prompts.iter().zip(&streamed) {
            let mut context = Context::new(&model, ContextOptions::new(prompt.len())).unwrap();
            assert_eq!(
                bits(context.forward(prompt).unwrap()),
                bits(streamed),
                "{name} {target}"
            );
        }
        assert!(matches!(
            logits_after(open(), &[], &[vec![1 << 30]], u64::MAX, &|_, _| {}),
            Err(StreamedError::Forward(_))
        ));
        if target.starts_with('Q') {
            assert!(matches!(
                logits_after(open(), &[], &prompts, 1000, &|_, _| {}),
                Err(StreamedError::Load(LoadError::Piece { .. }))
            ));
        }
    }
}
