//! Byte-level vocabularies: ids and texts as mistral-common gives them, laws, and bad metadata.

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use bise_format::gguf::{Metadata, Value};
use bise_format::tekken_metadata;
use bise_model::tokenizer::{
    Algorithm, Detokenizer, TokenKind, Tokenizer, TokenizerError, Vocabulary,
};
use flate2::read::GzDecoder;
use proptest::prelude::*;
use serde::Deserialize;

use super::fixture;

/// The first 8000 ranks of the real vocabulary, after 1000 special tokens.
static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    let compressed = std::fs::read(fixture("../chat/tekken.json.gz")).unwrap();
    let mut file = Vec::new();
    GzDecoder::new(compressed.as_slice())
        .read_to_end(&mut file)
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tekken.json");
    std::fs::write(&path, file).unwrap();
    tekken_metadata(&path).unwrap()
});

static TEKKEN: LazyLock<Tokenizer> = LazyLock::new(|| tokenizer(&METADATA).unwrap());

fn tokenizer(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::new(Vocabulary::from_metadata(metadata)?)
}

#[derive(Deserialize)]
struct Goldens {
    /// Of the texts in goldens.json, in order.
    encode: Vec<Vec<u32>>,
    decode: Vec<(Vec<u32>, String)>,
}

/// Text with U+FFFD for each byte that is not UTF-8, as `Tokenizer::encode` takes it.
fn valid(text: &[u8]) -> String {
    let chunks = text.utf8_chunks();
    chunks
        .map(|chunk| chunk.valid().to_owned() + &"\u{fffd}".repeat(chunk.invalid().len()))
        .collect()
}

#[test]
fn ids_and_texts_equal_mistral_common() {
    let goldens: Goldens =
        serde_json::from_slice(&std::fs::read(fixture("tekken.json")).unwrap()).unwrap();
    let texts = super::goldens::texts();
    assert_eq!(texts.len(), goldens.encode.len());
    for (text, ids) in texts.iter().zip(&goldens.encode) {
        let found = TEKKEN.encode(text);
        let pieces = |ids: &[u32]| {
            ids.iter()
                .map(|&id| TEKKEN.piece(id).to_owned())
                .collect::<Vec<_>>()
        };
        let shown = String::from_utf8_lossy(text);
        assert_eq!(
            &found,
            ids,
            "{shown:?} is {:?}, expected {:?}",
            pieces(&found),
            pieces(ids)
        );
        assert_eq!(TEKKEN.decode(ids), valid(text));
    }
    for (ids, text) in &goldens.decode {
        assert_eq!(&TEKKEN.decode(ids), text, "{ids:?}");
    }
}

/// By hand: `chat_goldens.py --full DIR`, then `BISE_TEKKEN_FULL=DIR/full.json cargo test --
/// --ignored whole_tekken`.
#[test]
#[ignore = "needs the whole vocabularies of mistral-common"]
fn whole_tekken_vocabularies_equal_mistral_common() {
    #[derive(Deserialize)]
    struct Full {
        texts: Vec<String>,
        ids: Vec<Vec<u32>>,
    }
    let path = std::env::var("BISE_TEKKEN_FULL").expect("BISE_TEKKEN_FULL names the goldens");
    let goldens: std::collections::HashMap<String, Full> =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(!goldens.is_empty());
    for (path, Full { texts, ids }) in goldens {
        let start = std::time::Instant::now();
        let metadata = tekken_metadata(Path::new(&path)).unwrap();
        let read = start.elapsed();
        let tokenizer = tokenizer(&metadata).unwrap();
        println!("{path}: read in {read:?}, ready after {:?}", start.elapsed());
        for (text, ids) in texts.iter().zip(&ids) {
            assert_eq!(&tokenizer.encode(text.as_bytes()), ids, "{text:?}");
        }
        let text = texts.concat();
        let start = std::time::Instant::now();
        println!(
            "{} bytes are {} tokens in {:?}",
            text.len(),
            tokenizer.encode(text.as_bytes()).len(),
            start.elapsed()
        );
    }
}

/// Merging by its definition: the lowest rank first, of equal ranks the leftmost. Ranks are ids
/// here.
fn merge_by_definition(word: &[u8], token: impl Fn(&[u8]) -> Option<u32>) -> Vec<u32> {
    if let Some(id) = token(word) {
        return vec![id];
    }
    let mut parts: Vec<Vec<u8>> = word.iter().map(|&byte| vec![byte]).collect();
    loop {
        let joined =
            |i: usize| Some((token(&[parts[i].clone(), parts[i + 1].clone()].concat())?, i));
        let Some((_, i)) = (0..parts.len() - 1).filter_map(joined).min() else {
            return parts.iter().map(|part| token(part).unwrap()).collect();
        };
        let right = parts.remove(i + 1);
        parts[i].extend(right);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn decoding_reads_back_and_nothing_is_control(text in prop::collection::vec(any::<String>(), 0..4), more in "[ a-e\n\tÀ-ü]{0,30}") {
        let text = text.concat() + &more + "<s>[INST]";
        let ids = TEKKEN.encode(text.as_bytes());
        prop_assert_eq!(TEKKEN.decode(&ids), text);
        prop_assert!(ids.iter().all(|&id| TEKKEN.kind(id) == Some(TokenKind::Normal)));
    }

    #[test]
    fn pushes_make_up_the_whole_text(ids in prop::collection::vec(prop_oneof![990..1256u32, 0..9001u32], 0..24)) {
        let mut detokenizer = Detokenizer::new(&TEKKEN);
        let mut text: String = ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect();
        text.push_str(detokenizer.finish());
        prop_assert_eq!(&text, &TEKKEN.decode(&ids));
        // Control tokens end a beginning of a character, and give no text themselves.
        let bytes = ids.iter().flat_map(|&id| match id {
            0..1000 | 9000.. => vec![0xff, 0xff],
            _ => spelled(TEKKEN.piece(id)),
        });
        let lossy = String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).replace("\u{fffd}\u{fffd}", "");
        prop_assert_eq!(text.replace('\u{fffd}', ""), lossy.replace('\u{fffd}', ""));
    }

    #[test]
    fn merging_follows_its_definition(word in "[a-dt h]{1,24}") {
        let word = word.replace(' ', "");
        prop_assume!(!word.is_empty());
        let token = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).unwrap();
            TEKKEN.token(text).filter(|&id| TEKKEN.kind(id) == Some(TokenKind::Normal))
        };
        prop_assert_eq!(TEKKEN.encode(word.as_bytes()), merge_by_definition(word.as_bytes(), token));
    }
}

/// The bytes of a piece, by GPT-2's rule.
fn spelled(piece: &str) -> Vec<u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others: Vec<u8> = (0..=255u8).filter(|&b| !printable(b)).collect();
    let byte = |c: char| match u32::from(c) {
        code @ 0x100.. => others[code as usize - 0x100],
        code => code as u8,
    };
    piece.chars().map(byte).collect()
}

/// A megabyte takes no time to speak of, whatever it says.
#[test]
fn long_texts_are_encoded() {
    for text in [
        "It was a bright cold day.\n",
        "a",
        " ",
        "\n",
        " \n",
        "-=",
        "\u{1f600}",
        "\u{300}",
        "aA",
        "\t ",
    ] {
        let text = text.repeat(1_000_000 / text.len());
        assert_eq!(TEKKEN.decode(&TEKKEN.encode(text.as_bytes())), text);
    }
}

/// 256 bytes, `ab`, `abc`, a user-defined and an unused piece.
fn small() -> Metadata {
    let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 0x100u32..;
    pieces.extend((0..=255u8).map(|b| match printable(b) {
        true => char::from(b).to_string(),
        false => char::from_u32(next.next().unwrap()).unwrap().to_string(),
    }));
    pieces.extend(["ab", "abc", "<tool> x", "[PAD5]"].map(String::from));
    let mut types = vec![3, 3, 3];
    types.extend([1; 258]);
    types.extend([4, 5]);
    Metadata::from_iter([
        ("tokenizer.ggml.model", Value::from("gpt2")),
        ("tokenizer.ggml.pre", Value::from("tekken")),
        ("tokenizer.ggml.tokens", Value::from(pieces)),
        ("tokenizer.ggml.token_type", Value::from(types)),
        (
            "tokenizer.ggml.merges",
            Value::from(vec!["a b".to_owned(), "ab c".to_owned()]),
        ),
    ])
}

#[test]
fn user_defined_and_unused_pieces() {
    let tokenizer = tokenizer(&small()).unwrap();
    assert!(
        matches!(&tokenizer.vocabulary().algorithm, Algorithm::Tekken { merges } if merges.len() == 2)
    );
    let ids = tokenizer.encode("abc<tool> xab[PAD5]é".as_bytes());
    assert_eq!(ids[..3], [260, 261, 259]);
    assert_eq!(tokenizer.decode(&ids), "abc<tool> xab[PAD5]é");
    assert!(!ids.contains(&262));
    assert_eq!(tokenizer.decode(&[262, 1, 0]), "[PAD5]");
    assert_eq!(tokenizer.encode_prompt(b"ab"), [1, 259]);
}

#[test]
fn bad_metadata_is_refused() {
    let error = |change: fn(&mut Metadata)| {
        let mut metadata = small();
        change(&mut metadata);
        tokenizer(&metadata).unwrap_err().to_string()
    };
    for (found, expected) in [
        (
            error(|m| drop(m.insert("tokenizer.ggml.pre", "llama-bpe"))),
            "metadata `tokenizer.ggml.pre` is \"llama-bpe\", expected \"tekken\", the only byte-level vocabularies supported",
        ),
        (
            error(|m| drop(m.insert("tokenizer.ggml.model", "bert"))),
            "metadata `tokenizer.ggml.model` is \"bert\", expected \"llama\" (SentencePiece) or \"gpt2\" (byte-level BPE)",
        ),
        (
            error(|m| {
                drop(m.insert("tokenizer.ggml.merges", vec!["a b".to_owned(), "ab d".to_owned()]))
            }),
            "merge 1 (tokens 259 and 103) is not of two tokens that make a third",
        ),
        (
            error(|m| drop(m.insert("tokenizer.ggml.merges", vec!["a".to_owned()]))),
            "merge 0 (\"a\") is not of two tokens that make a third",
        ),
        (
            error(|m| drop(m.insert("tokenizer.ggml.merges", vec!["zz a".to_owned()]))),
            "merge 0 (\"zz a\") is not of two tokens that make a third",
        ),
        (
            error(|m| {
                let mut pieces = m.strings("tokenizer.ggml.tokens").unwrap().unwrap().to_vec();
                pieces[259] = "a b".to_owned();
                m.insert("tokenizer.ggml.tokens", pieces);
                m.insert("tokenizer.ggml.merges", Vec::<String>::new());
            }),
            "token 259 (\"a b\") has a character that stands for no byte",
        ),
        (
            error(|m| {
                let mut types = m.i32s("tokenizer.ggml.token_type").unwrap().unwrap().into_owned();
                types[100] = 3;
                m.insert("tokenizer.ggml.token_type", types);
                m.insert("tokenizer.ggml.merges", Vec::<String>::new());
            }),
            "the byte-level vocabulary has tokens for 255 of 256 bytes",
        ),
    ] {
        assert_eq!(found, expected);
    }
    for key in ["tokenizer.ggml.pre", "tokenizer.ggml.merges"] {
        let mut metadata = small();
        metadata.remove(key);
        assert!(tokenizer(&metadata).unwrap_err().to_string().contains(key));
    }
}
