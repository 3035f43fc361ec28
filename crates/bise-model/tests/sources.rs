//! One model, stored in several ways: the same logits, bit for bit.

mod common;

use bise_model::{ContextOptions, Model};
use bise_tensor::mmap::FileBytes;
use common::{bits, file, fixture, logits, split};

/// Logits of some tokens that every fixture has.
fn run(model: &Model) -> Vec<u32> {
    let tokens: Vec<u32> = (0..40).map(|i| i * i % 61 + 1).collect();
    bits(&logits(model, &tokens, ContextOptions::new(tokens.len())))
}

fn from_directory(name: &str) -> Model {
    let (checkpoint, _) = bise_quantize::open(&fixture(name)).unwrap();
    Model::from_checkpoint(checkpoint).unwrap()
}

/// Every Hugging Face directory of the fixtures: BF16, F16, F32 and mixed, sharded, tied, with experts.
#[test]
fn directories_run_as_their_files_do() {
    let random = std::fs::read_dir(fixture("random")).unwrap();
    let names = random.map(|entry| format!("random/{}", entry.unwrap().file_name().to_str().unwrap()));
    for name in names.chain(["tiny-mistral".to_owned(), "tiny-mixtral".to_owned()]) {
        let gguf = Model::from_bytes(FileBytes::from_vec(file(&name, "F32"))).unwrap();
        let directory = from_directory(&name);
        assert_eq!(directory.config(), gguf.config(), "{name}");
        assert!(run(&directory) == run(&gguf), "{name}");
    }
}

#[test]
fn every_part_of_a_split_file_leads_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    for (name, target) in [("tiny-mixtral", "Q4_K_M"), ("random/mistral-tied", "BF16")] {
        let whole = file(name, target);
        let model = Model::from_bytes(FileBytes::from_vec(whole.clone())).unwrap();
        let expected = run(&model);
        for (count, first_has_tensors) in [(2, true), (3, false), (7, true)] {
            let parts = split(&whole, folder.path(), count, first_has_tensors);
            for part in &parts {
                let joined = Model::open(part).unwrap();
                assert!(run(&joined) == expected, "{}", part.display());
                let (found, expected) = (joined.checkpoint(), model.checkpoint());
                assert_eq!(found.metadata, expected.metadata);
                assert!(found.tensors.keys().eq(expected.tensors.keys()));
                assert_eq!(
                    found.container.to_string(),
                    format!("GGUF version 3, {count} files")
                );
            }
            parts.iter().for_each(|part| std::fs::remove_file(part).unwrap());
        }
    }
}
