//! Damaged files are refused or run; they never bring the program down.

mod common;

use bise_format::full_text;
use bise_format::gguf::Gguf;
use bise_format::gguf::Metadata;
use bise_kernels::mmap::FileBytes;
use bise_model::chat::{Message, Template};
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use bise_model::{Context, ContextOptions, Model};
use common::fixture;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// The built-in model: all kinds of metadata, a tokenizer, several formats.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| std::fs::read(fixture("demo.gguf")).unwrap());

/// Where the tensors' data begins.
static HEADER: LazyLock<usize> = LazyLock::new(|| Gguf::parse(&GOOD).unwrap().data_offset as usize);

/// Does all that a user would do with a file.
fn use_file(bytes: Vec<u8>) {
    let Ok(model) = Model::from_bytes(FileBytes::from_vec(bytes)) else {
        return;
    };
    if let Ok(Ok(tokenizer)) = Vocabulary::from_metadata(model.metadata()).map(Tokenizer::new) {
        tokenizer.decode(&tokenizer.encode_prompt("Once upon a time, \u{1F98A}\n".as_bytes()));
    }
    if let Ok(mut context) = Context::new(&model, ContextOptions::new(16)) {
        let token = (model.vocabulary_size() - 1) as u32;
        for tokens in [[0, 1, token].as_slice(), &[token]] {
            let _ = context.forward(tokens);
        }
    }
}

/// Loads the model and its vocabulary, and computes with them.
fn read_model(path: &Path) -> Result<(), String> {
    let model = Model::open(path).map_err(|e| full_text(&e))?;
    let vocabulary = Vocabulary::from_metadata(model.metadata()).map_err(|e| full_text(&e))?;
    let tokenizer = Tokenizer::new(vocabulary).map_err(|e| full_text(&e))?;
    let mut context = Context::new(&model, ContextOptions::new(16)).map_err(|e| full_text(&e))?;
    let tokens = tokenizer.encode_prompt(b"ab");
    context.forward(&tokens).map(drop).map_err(|e| full_text(&e))
}

/// Compiles a chat template and writes a conversation with it.
fn read_template(path: &Path) -> Result<(), String> {
    let template =
        Template::from_name(path.to_str().unwrap(), &Metadata::new()).map_err(|e| full_text(&e))?;
    let model = Model::from_bytes(FileBytes::from_vec(GOOD.clone())).unwrap();
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata()).unwrap()).unwrap();
    let encoded = template.encode(&tokenizer, &[Message::user("Hi")], &[]);
    encoded.map(drop).map_err(|e| full_text(&e))
}

/// The readers of `tools/quantize/tests/hostile.rs` try the other folders.
#[test]
fn every_hostile_file_has_its_error() {
    let expected = std::fs::read(fixture("hostile/expected.json")).unwrap();
    let expected: BTreeMap<String, Option<String>> = serde_json::from_slice(&expected).unwrap();
    let mut wrong = Vec::new();
    type Reader = fn(&Path) -> Result<(), String>;
    for (folder, read) in [("model", read_model as Reader), ("template", read_template)] {
        for entry in std::fs::read_dir(fixture("hostile").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            let (result, words) = (read(&path), &expected[&name]);
            let good = match (&result, words) {
                (Ok(()), None) => true,
                (Err(error), Some(words)) => error.contains(words.as_str()),
                _ => false,
            };
            if !good {
                wrong.push(format!("{name}: {result:?}, expected {words:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_headers(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = GOOD.clone();
        for (at, value) in changes {
            bytes[at.index(*HEADER)] = value;
        }
        use_file(bytes);
    }

    /// The keys that give the model its shape come first; a number there is the likeliest to do
    /// harm.
    #[test]
    fn changed_dimensions(at in 0usize..1200, value in prop_oneof![
        Just(0u32), Just(1), Just(u32::MAX), Just(1 << 31), Just(1 << 30), Just(1 << 16), any::<u32>(),
    ]) {
        let mut bytes = GOOD.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        use_file(bytes);
    }

    #[test]
    fn changed_weights(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = GOOD.clone();
        let weights = bytes.len() - *HEADER;
        for (at, value) in changes {
            bytes[*HEADER + at.index(weights)] = value;
        }
        use_file(bytes);
    }

    #[test]
    fn cut_files(at in any::<prop::sample::Index>()) {
        let at = at.index(GOOD.len());
        prop_assert!(Model::from_bytes(FileBytes::from_vec(GOOD[..at].to_vec())).is_err(), "cut at {at}");
    }
}
