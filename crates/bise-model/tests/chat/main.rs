//! Chats against mistral-common, and their laws.

mod answers;
mod detect;
mod goldens;
mod jinja;
mod kinds;
mod laws;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bise_format::gguf::{Gguf, Metadata};
use bise_format::tekken_metadata;
use bise_model::chat::{Conversation, Version};
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// Vocabularies and versions, as the goldens name them.
const FORMATS: [&str; 9] = [
    "v1",
    "v2",
    "v3",
    "v7",
    "v3-tekken",
    "v7-tekken",
    "v11-tekken",
    "v13-tekken",
    "v15-tekken",
];

/// All of [`FORMATS`], made once.
static FORMS: LazyLock<HashMap<&'static str, (Version, Tokenizer)>> = LazyLock::new(|| {
    let form = |name: &'static str| {
        let vocabulary = Vocabulary::from_metadata(&metadata(name)).unwrap();
        (
            name,
            (
                Version::from_name(name).unwrap(),
                Tokenizer::new(vocabulary).unwrap(),
            ),
        )
    };
    FORMATS.into_iter().map(form).collect()
});

/// A file under fixtures, written by tools/fixtures/chat_goldens.py or tokenizer_goldens.py.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

fn read(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(fixture(name)).unwrap();
    if !name.ends_with(".gz") {
        return bytes;
    }
    let mut file = Vec::new();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut file).unwrap();
    file
}

/// How the vocabularies of versions without a file differ from those with one.
#[derive(Deserialize)]
struct Vocabularies {
    v2: Vec<(usize, String, i32)>,
    v7: Vec<(usize, String, i32)>,
    special_tokens: HashMap<String, Vec<String>>,
    converted: Value,
}

fn vocabularies() -> Vocabularies {
    serde_json::from_slice(&read("chat/vocabularies.json")).unwrap()
}

/// The metadata of a format's vocabulary.
fn metadata(format: &str) -> Metadata {
    match format.strip_suffix("-tekken") {
        Some(version) => tekken(version),
        None => sentencepiece(format),
    }
}

fn sentencepiece(version: &str) -> Metadata {
    let file = if version == "v1" { "v1" } else { "v3" };
    let mut metadata = Gguf::parse(&read(&format!("tokenizer/mistral-{file}.gguf.gz")))
        .unwrap()
        .metadata;
    let changed = match version {
        "v2" => vocabularies().v2,
        "v7" => vocabularies().v7,
        _ => return metadata,
    };
    let mut pieces = metadata
        .strings("tokenizer.ggml.tokens")
        .unwrap()
        .unwrap()
        .to_vec();
    let mut types = metadata
        .i32s("tokenizer.ggml.token_type")
        .unwrap()
        .unwrap()
        .into_owned();
    for (id, piece, kind) in changed {
        (pieces[id], types[id]) = (piece, kind);
    }
    metadata.insert("tokenizer.ggml.tokens", pieces);
    metadata.insert("tokenizer.ggml.token_type", types);
    metadata
}

/// The first ranks of the real tekken vocabulary, as a `tekken.json` of `version`.
fn tekken(version: &str) -> Metadata {
    let names = vocabularies().special_tokens.remove(version);
    tekken_with(version, &names.unwrap_or_default())
}

/// The same with these special tokens, or the version's own where there are none.
fn tekken_with(version: &str, names: &[String]) -> Metadata {
    let mut file: Value = serde_json::from_slice(&read("chat/tekken.json.gz")).unwrap();
    file["config"]["version"] = version.into();
    if !names.is_empty() {
        let special = |(rank, name): (usize, &String)| serde_json::json!({ "rank": rank, "token_str": name, "is_control": true });
        file["special_tokens"] = names.iter().enumerate().map(special).collect();
    }
    if version == "v15" {
        file["model_settings_builder"] = serde_json::json!({
            "reasoning_effort": { "type": "enum", "values": ["none", "high"], "accepts_none": true, "default": "none" },
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tekken.json");
    std::fs::write(&path, file.to_string()).unwrap();
    tekken_metadata(&path).unwrap()
}

/// A conversation with its ids by format; `None` where mistral-common refuses it.
struct Row {
    conversation: Conversation,
    json: String,
    ids: HashMap<String, Option<Vec<u32>>>,
}

fn rows(file: &str) -> Vec<Row> {
    let rows: Vec<Value> = serde_json::from_slice(&read(file)).unwrap();
    let row = |row: Value| {
        let json = row.to_string();
        Row {
            conversation: Conversation::from_json(&json).unwrap(),
            json,
            ids: serde_json::from_value(row["ids"].clone()).unwrap(),
        }
    };
    rows.into_iter().map(row).collect()
}

fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|&id| tokenizer.piece(id).to_owned()).collect()
}
