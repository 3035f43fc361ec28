//! The tokenizer against `sentencepiece`, and its laws.

mod configs;
mod goldens;
mod laws;
mod metadata;
mod tekken;

use std::io::Read;
use std::path::{Path, PathBuf};

use bise_format::gguf::{Gguf, Metadata};
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use flate2::read::GzDecoder;

/// A file of fixtures/tokenizer, written by tools/fixtures/tokenizer_goldens.py.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/tokenizer")
        .join(name)
}

/// The metadata of `mistral-{version}.gguf.gz`.
fn mistral_metadata(version: &str) -> Metadata {
    let compressed = std::fs::File::open(fixture(&format!("mistral-{version}.gguf.gz"))).unwrap();
    let mut file = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut file).unwrap();
    Gguf::parse(&file).unwrap().metadata
}

/// Mistral's vocabulary, `v1` or `v3`.
fn mistral(version: &str) -> Tokenizer {
    let vocabulary = Vocabulary::from_metadata(&mistral_metadata(version)).unwrap();
    Tokenizer::new(vocabulary).unwrap()
}

/// What decoding gives for an encoded text: each byte that is not UTF-8 is U+FFFD, U+2581 is a
/// space.
fn read_back(text: &[u8]) -> String {
    let mut out = String::new();
    for chunk in text.utf8_chunks() {
        out.push_str(&chunk.valid().replace('\u{2581}', " "));
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    out
}
