//! Tokenizers as directories have them, against transformers: see
//! tools/fixtures/tokenizer_configs.py.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use bise_format::tokenizer_metadata;
use bise_model::tokenizer::{TokenKind, Tokenizer, Vocabulary};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::fixture;

#[derive(Deserialize)]
struct Goldens {
    texts: Vec<String>,
    /// What several files share; "@name" stands for one.
    parts: HashMap<String, Json>,
    configs: Vec<Config>,
}

#[derive(Deserialize)]
struct Config {
    name: String,
    files: Map<String, Json>,
    vocab_size: u64,
    ids: Vec<Vec<u32>>,
    /// With special tokens as plain text, where that differs.
    plain: Vec<Option<Vec<u32>>>,
}

fn goldens() -> Goldens {
    let mut json = String::new();
    let file = fs::File::open(fixture("configs.json.gz")).unwrap();
    GzDecoder::new(file).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

impl Goldens {
    fn part(&self, value: &Json) -> Json {
        match value.as_str().and_then(|name| name.strip_prefix('@')) {
            Some(name) => self.parts[name].clone(),
            None => value.clone(),
        }
    }

    fn write(&self, directory: &Path, files: &Map<String, Json>) {
        for (name, value) in files {
            let mut value = self.part(value);
            if let Some(model) = value.get("model").map(|model| self.part(model)) {
                value["model"] = model;
            }
            let bytes = match value.as_str() {
                Some(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
                None => value.to_string().into_bytes(),
            };
            fs::write(directory.join(name), bytes).unwrap();
        }
    }
}

/// The tokens of a whole text, in which the words of control tokens are placed by a program.
fn placed(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let vocabulary = tokenizer.vocabulary();
    let is_placed = |kind| matches!(kind, TokenKind::Control | TokenKind::Unknown);
    let words: Vec<(u32, &str)> = (0u32..)
        .zip(&vocabulary.pieces)
        .filter(|(id, _)| is_placed(vocabulary.kinds[*id as usize]))
        .map(|(id, piece)| (id, piece.as_str()))
        .collect();
    let (mut controls, mut at) = (Vec::new(), 0);
    while let Some(c) = text[at..].chars().next() {
        let here = words.iter().filter(|(_, word)| text[at..].starts_with(word));
        match here.max_by_key(|(_, word)| word.len()) {
            Some((id, word)) => {
                controls.push((at..at + word.len(), *id));
                at += word.len();
            }
            None => at += c.len_utf8(),
        }
    }
    let bos = vocabulary.bos.filter(|_| vocabulary.add_bos);
    bos.into_iter()
        .chain(tokenizer.encode_placed(text, &controls))
        .collect()
}

#[test]
fn ids_are_those_of_transformers() {
    let goldens = goldens();
    assert!(goldens.configs.len() >= 300 && goldens.texts.len() == 50);
    let mut faults = Vec::new();
    for config in &goldens.configs {
        let directory = tempfile::tempdir().unwrap();
        goldens.write(directory.path(), &config.files);
        let made = tokenizer_metadata(directory.path(), config.vocab_size)
            .map_err(|e| e.to_string())
            .and_then(|found| {
                let (metadata, _) = found.ok_or("no tokenizer")?;
                let vocabulary = Vocabulary::from_metadata(&metadata).map_err(|e| e.to_string())?;
                Tokenizer::new(vocabulary).map_err(|e| e.to_string())
            });
        let tokenizer = match made {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                faults.push(format!("{}: {error}", config.name));
                continue;
            }
        };
        for (i, text) in goldens.texts.iter().enumerate() {
            let plain = config.plain[i].as_ref().unwrap_or(&config.ids[i]);
            for (how, found, expected) in [
                ("placed", placed(&tokenizer, text), &config.ids[i]),
                ("plain", tokenizer.encode_complete(text.as_bytes()), plain),
            ] {
                if found != *expected {
                    faults.push(format!(
                        "{}: {text:?} {how}: {found:?}, expected {expected:?}",
                        config.name
                    ));
                }
            }
        }
    }
    let shown = faults.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} faults\n{shown}", faults.len());
}
