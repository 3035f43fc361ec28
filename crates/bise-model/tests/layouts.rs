//! Files of older programs: each expert in tensors of its own.

mod common;

use bise_kernels::mmap::FileBytes;
use bise_model::{ContextOptions, Model};
use common::{bits, logits, per_expert};

#[test]
fn experts_in_tensors_of_their_own() {
    for target in ["F32", "Q4_K_M"] {
        let stacked = common::file("tiny-mixtral", target);
        let separate = per_expert(&stacked);
        let run = |file: Vec<u8>| {
            let model = Model::from_bytes(FileBytes::from_vec(file)).unwrap();
            bits(&logits(&model, &[1, 468, 502, 261, 450], ContextOptions::new(8)))
        };
        assert!(run(stacked) == run(separate), "{target}");
    }
}
