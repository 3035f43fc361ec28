//! Vocabularies from metadata, good and bad.

use bise_format::gguf::{Metadata, Value};
use bise_model::tokenizer::{TokenKind, Tokenizer, TokenizerError, Vocabulary};

use super::mistral_metadata;

/// A small vocabulary's metadata, with only the keys that have no usual value.
fn metadata() -> Metadata {
    let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    pieces.extend((0..=255u8).map(|b| format!("<0x{b:02X}>")));
    pieces.extend(["\u{2581}", "a"].map(String::from));
    let mut types = vec![2, 3, 3];
    types.extend([6; 256]);
    types.extend([1; 2]);
    let scores = vec![0f32; pieces.len()];
    Metadata::from_iter([
        ("tokenizer.ggml.model", Value::from("llama")),
        ("tokenizer.ggml.tokens", Value::from(pieces)),
        ("tokenizer.ggml.scores", Value::from(scores)),
        ("tokenizer.ggml.token_type", Value::from(types)),
    ])
}

/// The message of the error that `metadata` gives, from reading to a ready tokenizer.
fn error(metadata: &Metadata) -> String {
    let made = Vocabulary::from_metadata(metadata).and_then(Tokenizer::new);
    made.expect_err("the metadata is bad").to_string()
}

#[test]
fn mistral_vocabularies() {
    for (version, tokens, controls) in [("v1", 32000, 2), ("v3", 32768, 750)] {
        let v = Vocabulary::from_metadata(&mistral_metadata(version)).unwrap();
        assert_eq!(v.len(), tokens);
        assert_eq!((v.bos, v.eos, v.unk), (Some(1), Some(2), Some(0)));
        assert_eq!((v.add_bos, v.add_eos, v.add_space_prefix), (true, false, true));
        assert_eq!(
            v.kinds.iter().filter(|&&k| k == TokenKind::Control).count(),
            controls
        );
        let tokenizer = Tokenizer::new(v).unwrap();
        assert_eq!(tokenizer.token("[INST]"), (version == "v3").then_some(3));
        assert_eq!(
            tokenizer.token("\u{2581}t").map(|id| tokenizer.piece(id)),
            Some("\u{2581}t")
        );
        assert_eq!((tokenizer.piece(u32::MAX), tokenizer.kind(u32::MAX)), ("", None));
    }
}

#[test]
fn absent_keys_have_their_usual_meaning() {
    let v = Vocabulary::from_metadata(&metadata()).unwrap();
    assert_eq!((v.bos, v.eos, v.unk), (Some(1), Some(2), Some(0)));
    assert_eq!((v.add_bos, v.add_eos, v.add_space_prefix), (true, false, true));
}

#[test]
fn present_keys_count() {
    let mut m = metadata();
    m.insert("tokenizer.ggml.bos_token_id", 2u32);
    m.insert("tokenizer.ggml.eos_token_id", 1u32);
    m.insert("tokenizer.ggml.add_eos_token", true);
    m.insert("tokenizer.ggml.add_space_prefix", false);
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(&m).unwrap()).unwrap();
    assert_eq!(tokenizer.encode_complete(b" a"), [2, 259, 260, 1]);
    assert_eq!(tokenizer.encode_prompt(b" a"), [2, 259, 260]);
    assert_eq!(tokenizer.decode(&[259, 260]), " a");
    m.insert("tokenizer.ggml.add_bos_token", false);
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(&m).unwrap()).unwrap();
    assert_eq!(tokenizer.encode_complete(b""), [1]);
}

/// Files exist whose special tokens are marked as text, even as text that is always one token.
#[test]
fn bos_is_a_control_token_whatever_its_type() {
    for wrong in [1, 4] {
        let mut m = metadata();
        let mut types = m.i32s("tokenizer.ggml.token_type").unwrap().unwrap().into_owned();
        types[1] = wrong;
        types[2] = wrong;
        m.insert("tokenizer.ggml.token_type", types);
        let tokenizer = Tokenizer::new(Vocabulary::from_metadata(&m).unwrap()).unwrap();
        let ids = tokenizer.encode_prompt(b"<s></s>");
        assert_eq!(ids.iter().filter(|&&id| id == 1 || id == 2).count(), 1);
        assert_eq!(tokenizer.decode(&ids), "<s></s>");
    }
}

/// As llama.cpp reads such files: scores are zero, pieces are text, and bytes are known by their
/// names.
#[test]
fn scores_and_types_may_be_absent() {
    let mut whole = metadata();
    whole.insert("tokenizer.ggml.token_type", {
        let mut types = vec![1; 261];
        types[3..259].fill(6);
        types
    });
    for absent in ["scores", "token_type"] {
        let absent = format!("tokenizer.ggml.{absent}");
        let part = whole.iter().filter(|(key, _)| **key != absent);
        let part: Metadata = part.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let [whole, part] =
            [&whole, &part].map(|m| Tokenizer::new(Vocabulary::from_metadata(m).unwrap()).unwrap());
        for text in ["a a", "é\n", "<s>"] {
            assert_eq!(
                part.encode_complete(text.as_bytes()),
                whole.encode_complete(text.as_bytes()),
                "{absent} {text:?}"
            );
        }
    }
}

#[test]
fn missing_keys_are_named() {
    for key in ["model", "tokens"] {
        let mut m = metadata();
        let key = format!("tokenizer.ggml.{key}");
        m.remove(&key);
        assert!(error(&m).contains(&key), "{}", error(&m));
    }
}

/// A file that is for ids only is not called one of another kind.
#[test]
fn no_tokenizer_is_said_so() {
    let mut m = metadata();
    m.remove("tokenizer.ggml.tokens");
    for model in [None, Some("none")] {
        m.remove("tokenizer.ggml.model");
        model.map(|model| m.insert("tokenizer.ggml.model", model));
        assert!(
            error(&m).starts_with("the model has no tokenizer\n"),
            "{}",
            error(&m)
        );
    }
}

#[test]
fn other_tokenizers_are_refused() {
    for model in ["bert", "none", ""] {
        let mut m = metadata();
        m.insert("tokenizer.ggml.model", model);
        let found = Vocabulary::from_metadata(&m).unwrap_err();
        assert!(
            matches!(&found, TokenizerError::Model { found, .. } if found == model),
            "{found}"
        );
    }
}

/// Each fault is an error that says what was expected and what was found.
#[test]
fn faults_are_named() {
    let nan = {
        let mut scores = vec![0f32; 261];
        scores[7] = f32::NAN;
        scores
    };
    let kind = |id: usize, kind: i32| {
        let mut types = metadata()
            .i32s("tokenizer.ggml.token_type")
            .unwrap()
            .unwrap()
            .into_owned();
        types[id] = kind;
        Value::from(types)
    };
    let cases: [(&str, Value, &[&str]); 11] = [
        ("tokens", Vec::<String>::new().into(), &["no tokens"]),
        ("scores", vec![0f32; 260].into(), &["scores", "260", "261"]),
        (
            "token_type",
            vec![1i32; 300].into(),
            &["token_type", "300", "261"],
        ),
        ("scores", nan.into(), &["score", "token 7", "<0x04>"]),
        (
            "scores",
            "high".into(),
            &["tokenizer.ggml.scores", "string", "array of f32"],
        ),
        (
            "token_type",
            kind(9, 7),
            &["token_type", "7", "token 9", "1 to 6"],
        ),
        ("token_type", kind(9, -1), &["-1"]),
        ("token_type", kind(260, 6), &["token 260", "\"a\"", "<0x00>"]),
        ("bos_token_id", 261u32.into(), &["bos_token_id", "261"]),
        (
            "eos_token_id",
            u32::MAX.into(),
            &["eos_token_id", "4294967295", "261"],
        ),
        ("unknown_token_id", (-1i32).into(), &["unknown_token_id", "-1"]),
    ];
    for (key, value, expected) in cases {
        let mut m = metadata();
        m.insert(format!("tokenizer.ggml.{key}"), value);
        let message = error(&m);
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message} should say {expected:?}"
        );
    }
}

#[test]
fn some_characters_need_bytes_or_an_unknown_token() {
    let mut v = Vocabulary::from_metadata(&metadata()).unwrap();
    v.unk = None;
    assert!(Tokenizer::new(v.clone()).is_ok());
    v.kinds[100] = TokenKind::Normal;
    let message = Tokenizer::new(v).unwrap_err().to_string();
    assert!(message.contains("255 of 256"), "{message}");
}

/// Duplicate, empty and odd pieces occur in files: they are no reason to fail.
#[test]
fn odd_pieces_do_no_harm() {
    let mut v = Vocabulary::from_metadata(&metadata()).unwrap();
    for (piece, kind) in [
        ("", TokenKind::Normal),
        ("a", TokenKind::Normal),
        ("", TokenKind::UserDefined),
        ("\0", TokenKind::Unused),
    ] {
        v.pieces.push(piece.to_owned());
        v.scores.push(f32::INFINITY);
        v.kinds.push(kind);
    }
    let tokenizer = Tokenizer::new(v).unwrap();
    assert_eq!(tokenizer.encode(b"aa\0"), [259, 260, 260, 264]);
    assert_eq!(tokenizer.decode(&[259, 260, 261, 263, 262]), "aa");
}

/// Converters store user-defined pieces with plain spaces.
#[test]
fn user_defined_pieces_may_have_plain_spaces() {
    for piece in [" b c", "\u{2581}b\u{2581}c"] {
        let mut v = Vocabulary::from_metadata(&metadata()).unwrap();
        v.pieces.push(piece.to_owned());
        v.scores.push(0.0);
        v.kinds.push(TokenKind::UserDefined);
        let tokenizer = Tokenizer::new(v).unwrap();
        let ids = tokenizer.encode(b"b c b c");
        assert_eq!(ids, [261, 261]);
        assert_eq!(tokenizer.decode(&ids), "b c b c");
    }
}
