//! Ids and texts as `sentencepiece` gives them.

use bise_model::tokenizer::{Algorithm, TokenKind, Tokenizer, Vocabulary};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{fixture, mistral, read_back};

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Utf8(String),
    Bytes { hex: String },
}

impl Text {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Utf8(text) => text.as_bytes().to_vec(),
            Self::Bytes { hex } => (0..hex.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
                .collect(),
        }
    }
}

/// A text, its v1 ids, and its v3 ids where they are not v1's shifted.
#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Shifted(Text, Vec<u32>),
    Both(Text, Vec<u32>, Vec<u32>),
}

type Decoded = Vec<(Vec<u32>, String)>;

#[derive(Deserialize)]
struct Goldens {
    v3_shift: u32,
    encode: Vec<Row>,
    decode: DecodedByVersion,
}

#[derive(Deserialize)]
struct DecodedByVersion {
    v1: Decoded,
    v3: Decoded,
}

#[derive(Deserialize)]
struct Corner {
    pieces: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    encode: Vec<(String, Vec<u32>)>,
    decode: Decoded,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// The texts of goldens.json, in order.
pub(super) fn texts() -> Vec<Vec<u8>> {
    let goldens: Goldens = read("goldens.json");
    let text = |row: &Row| match row {
        Row::Shifted(text, _) | Row::Both(text, _, _) => text.bytes(),
    };
    goldens.encode.iter().map(text).collect()
}

fn check_encode(name: &str, tokenizer: &Tokenizer, text: &[u8], ids: &[u32]) {
    let found = tokenizer.encode(text);
    let pieces = |ids: &[u32]| {
        ids.iter()
            .map(|&i| tokenizer.piece(i).to_owned())
            .collect::<Vec<_>>()
    };
    let shown = String::from_utf8_lossy(text);
    assert_eq!(
        found,
        ids,
        "{name}: {shown:?} is {:?}, expected {:?}",
        pieces(&found),
        pieces(ids)
    );
}

fn check_decode(name: &str, tokenizer: &Tokenizer, decoded: &Decoded) {
    for (ids, text) in decoded {
        let pieces: Vec<_> = ids.iter().map(|&i| tokenizer.piece(i)).collect();
        assert_eq!(&tokenizer.decode(ids), text, "{name}: {pieces:?}");
    }
}

#[test]
fn mistral_ids_equal_sentencepiece() {
    let goldens: Goldens = read("goldens.json");
    assert!(goldens.encode.len() >= 2000);
    let (v1, v3) = (mistral("v1"), mistral("v3"));
    for row in &goldens.encode {
        let (text, ids1, ids3) = match row {
            Row::Shifted(text, ids) => {
                (text, ids, ids.iter().map(|i| i + goldens.v3_shift).collect())
            }
            Row::Both(text, ids1, ids3) => (text, ids1, ids3.clone()),
        };
        let text = text.bytes();
        for (name, tokenizer, ids) in [("v1", &v1, ids1), ("v3", &v3, &ids3)] {
            check_encode(name, tokenizer, &text, ids);
            assert_eq!(tokenizer.decode(ids), read_back(&text), "{name}");
        }
    }
}

#[test]
fn mistral_texts_equal_sentencepiece() {
    let goldens: Goldens = read("goldens.json");
    check_decode("v1", &mistral("v1"), &goldens.decode.v1);
    check_decode("v3", &mistral("v3"), &goldens.decode.v3);
}

/// Tied scores, user-defined and unused pieces, characters without a piece and without byte tokens.
#[test]
fn small_vocabularies_equal_sentencepiece() {
    let corners: Vec<Corner> = read("corners.json");
    assert!(!corners.is_empty());
    for (i, corner) in corners.into_iter().enumerate() {
        let name = format!("small vocabulary {i}");
        let tokenizer = Tokenizer::new(Vocabulary {
            algorithm: Algorithm::SentencePiece,
            pieces: corner.pieces,
            scores: corner.scores,
            kinds: corner
                .types
                .iter()
                .map(|&t| TokenKind::from_number(t).unwrap())
                .collect(),
            bos: Some(1),
            eos: Some(2),
            ends: Vec::new(),
            unk: Some(0),
            add_bos: true,
            add_eos: false,
            add_space_prefix: true,
            rules: None,
            reasoning: None,
        });
        let tokenizer = tokenizer.unwrap();
        for (text, ids) in &corner.encode {
            check_encode(&name, &tokenizer, text.as_bytes(), ids);
        }
        check_decode(&name, &tokenizer, &corner.decode);
    }
}
