use crate::gguf::{Metadata, Value};
use crate::hf::SpecialTokens;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value as Json, json};
use std::fs;
use tempfile::TempDir;

// SentencePiece's messages, as another library writes them.

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(int32, optional, tag = "40")]
    unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41")]
    bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    eos_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
}

/// `<unk> <s> </s> <0x0A>`, two pieces by merging, three characters; the best merge is `▁a`.
fn model() -> ModelProto {
    let piece = |(text, score, kind): (&str, f32, i32)| Piece {
        piece: Some(text.to_owned()),
        score: Some(score),
        kind: Some(kind),
    };
    let pieces = [
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("</s>", 0.0, 3),
        ("<0x0A>", 0.0, 6),
        ("\u{2581}a", -1.0, 1),
        ("ab", -2.0, 1),
        ("\u{2581}", -3.0, 1),
        ("a", -4.0, 1),
        ("b", -5.0, 1),
    ];
    ModelProto {
        pieces: pieces.map(piece).to_vec(),
        trainer: Some(TrainerSpec {
            model_type: Some(2),
            ..TrainerSpec::default()
        }),
        normalizer: Some(NormalizerSpec {
            remove_extra_whitespaces: Some(false),
            ..NormalizerSpec::default()
        }),
    }
}

fn json_file() -> Json {
    json!({
        "added_tokens": [
            {"id": 0, "content": "<unk>", "special": true},
            {"id": 1, "content": "<s>", "special": true},
            {"id": 2, "content": "</s>", "special": true},
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}]},
        "model": {
            "type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
            "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0x0A>": 3, "\u{2581}a": 4, "ab": 5, "\u{2581}": 6, "a": 7, "b": 8},
            "merges": ["\u{2581} a", "a b"],
        },
    })
}

/// The metadata and notes of a directory with these files, for a model of `vocab_size` tokens.
fn read(files: &[(&str, Vec<u8>)], vocab_size: u64) -> Result<(Metadata, Vec<String>), String> {
    let directory = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    let tokenizer = super::read(directory.path(), vocab_size)
        .map_err(|e| e.to_string())?
        .unwrap();
    let (mut metadata, mut notes) = (Metadata::new(), Vec::new());
    tokenizer.describe(&SpecialTokens::default(), &mut metadata, &mut notes);
    Ok((metadata, notes))
}

fn tokens(metadata: &Metadata) -> &[String] {
    metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap()
}

fn types(metadata: &Metadata) -> Vec<i32> {
    metadata
        .i32s("tokenizer.ggml.token_type")
        .unwrap()
        .unwrap()
        .into_owned()
}

fn scores(metadata: &Metadata) -> &[f32] {
    metadata.f32s("tokenizer.ggml.scores").unwrap().unwrap()
}

fn sentencepiece() -> (&'static str, Vec<u8>) {
    ("tokenizer.model", model().encode_to_vec())
}

/// The `tokenizer.json` that transformers make of the tekken file.
fn tekken_json() -> Json {
    let tekken = super::tekken::tests::file().to_string().into_bytes();
    let (metadata, _) = read(&[("tekken.json", tekken)], 282).unwrap();
    let ids = tokens(&metadata).iter().enumerate();
    let vocab: serde_json::Map<String, Json> =
        ids.map(|(id, text)| (text.clone(), id.into())).collect();
    json!({
        "added_tokens": [{"id": 1, "content": "<s>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "model": {"type": "BPE", "ignore_merges": true, "vocab": vocab, "merges": ["a b", "ab c"]},
    })
}

/// A tekken file counts as long as tokenizer.json has the same tokens.
#[test]
fn tokenizer_json_beside_a_tekken_file() {
    let files = |json: &Json| {
        let tekken = super::tekken::tests::file().to_string().into_bytes();
        [
            ("tekken.json", tekken),
            ("tokenizer.json", json.to_string().into_bytes()),
        ]
    };
    let mut json = tekken_json();
    let (metadata, notes) = read(&files(&json), 282).unwrap();
    assert!(metadata.get("tokenizer.mistral.version").is_some() && notes.is_empty());
    json["added_tokens"][0] = json!({"id": 20, "content": "<|im_end|>", "special": true});
    let (metadata, notes) = read(&files(&json), 282).unwrap();
    assert_eq!(tokens(&metadata)[20], "<|im_end|>");
    assert_eq!(metadata.str("tokenizer.ggml.model").unwrap(), Some("gpt2"));
    assert_eq!(metadata.str("tokenizer.ggml.pre").unwrap(), Some("gpt-2"));
    assert_eq!(
        metadata.strings("tokenizer.ggml.merges").unwrap().unwrap(),
        ["a b", "ab c"]
    );
    assert!(metadata.get("tokenizer.mistral.version").is_none());
    assert!(notes[0].contains("other tokens than tekken.json"), "{notes:?}");
    json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "[ab]+"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
    ]});
    let error = read(&files(&json), 282).unwrap_err();
    assert!(
        error.contains("[ab]+") && error.contains("tekken.json beside it"),
        "{error}"
    );
}

/// What is in tokenizer.json alone is not lost, and scores are those of the model it was made of.
#[test]
fn tokenizer_json_beside_a_sentencepiece_model() {
    let files = |json: &Json| [sentencepiece(), ("tokenizer.json", json.to_string().into_bytes())];
    let (metadata, notes) = read(&files(&json_file()), 10).unwrap();
    assert_eq!(scores(&metadata)[4..9], [-1.0, -2.0, -3.0, -4.0, -5.0]);
    assert!(notes.is_empty(), "{notes:?}");
    let mut json = json_file();
    let more = json!({"id": 9, "content": "<|im_end|>", "special": true, "normalized": false, "rstrip": true});
    json["added_tokens"].as_array_mut().unwrap().push(more);
    let (metadata, notes) = read(&files(&json), 10).unwrap();
    assert_eq!(tokens(&metadata)[9], "<|im_end|>");
    assert_eq!(types(&metadata)[9], 3);
    assert!(
        notes[0].contains("not `<|im_end|>`: tokenizer.json counts"),
        "{notes:?}"
    );
    let added = metadata.u32s("tokenizer.rules.added").unwrap().unwrap();
    assert_eq!(added[..], [0, 16, 1, 16, 2, 16, 9, 4]);
    assert_eq!(
        metadata.u32s("tokenizer.rules.merges").unwrap().unwrap()[..],
        [6, 7, 7, 8]
    );
}

/// Where there is no tokenizer.json, `legacy` decides which texts get a space in front.
#[test]
fn a_sentencepiece_model_as_transformers_have_it() {
    let rules = |config: Json| {
        let config = ("tokenizer_config.json", config.to_string().into_bytes());
        let (metadata, _) = read(&[sentencepiece(), config], 9).unwrap();
        let rule = |key: &str| {
            metadata
                .str(&format!("tokenizer.rules.{key}"))
                .unwrap()
                .unwrap()
                .to_owned()
        };
        (rule("normalizer"), rule("pre_tokenizer"))
    };
    let (normalizer, pre_tokenizer) = rules(json!({}));
    assert!(normalizer.contains("Prepend") && pre_tokenizer == "null");
    let (normalizer, pre_tokenizer) = rules(json!({ "legacy": false }));
    assert!(normalizer == "null" && pre_tokenizer.contains(r#""prepend_scheme":"first""#));
    let (_, pre_tokenizer) = rules(json!({ "legacy": false, "add_prefix_space": false }));
    assert!(pre_tokenizer.contains("never"));
}

#[test]
fn a_tekken_file() {
    let tekken = super::tekken::tests::file().to_string().into_bytes();
    let config = json!({ "chat_template": "[INST]", "bos_token": "<s>" });
    let files = [
        ("tekken.json", tekken),
        ("tokenizer_config.json", config.to_string().into_bytes()),
    ];
    let (metadata, notes) = read(&files, 282).unwrap();
    assert_eq!(metadata.str("tokenizer.ggml.model").unwrap(), Some("gpt2"));
    assert_eq!(metadata.str("tokenizer.ggml.pre").unwrap(), Some("tekken"));
    assert_eq!(metadata.str("tokenizer.chat_template").unwrap(), Some("[INST]"));
    assert_eq!(tokens(&metadata).len(), 282);
    assert!(notes.is_empty());
    assert!(read(&files, 281).unwrap_err().contains("tekken.json"));
}

#[test]
fn a_sentencepiece_model() {
    let (metadata, notes) = read(&[sentencepiece()], 11).unwrap();
    assert_eq!(
        tokens(&metadata)[4..],
        ["\u{2581}a", "ab", "\u{2581}", "a", "b", "[PAD9]", "[PAD10]"]
    );
    assert_eq!(types(&metadata), [2, 3, 3, 6, 1, 1, 1, 1, 1, 5, 5]);
    assert_eq!(scores(&metadata)[4..9], [-1.0, -2.0, -3.0, -4.0, -5.0]);
    for (key, value) in [
        ("model", Value::from("llama")),
        ("pre", Value::from("default")),
        ("bos_token_id", Value::U32(1)),
        ("eos_token_id", Value::U32(2)),
        ("unknown_token_id", Value::U32(0)),
        ("add_bos_token", Value::Bool(true)),
        ("add_eos_token", Value::Bool(false)),
        ("add_space_prefix", Value::Bool(true)),
    ] {
        assert_eq!(
            metadata.get(&format!("tokenizer.ggml.{key}")),
            Some(&value),
            "{key}"
        );
    }
    assert!(metadata.get("tokenizer.ggml.remove_extra_whitespaces").is_none());
    assert!(notes.is_empty());
}

#[test]
fn transformers_form_of_it_is_the_same() {
    let (from_model, _) = read(&[sentencepiece()], 9).unwrap();
    let pairs = json!([["\u{2581}", "a"], ["a", "b"]]);
    for merges in [json_file()["model"]["merges"].clone(), pairs] {
        let mut file = json_file();
        file["model"]["merges"] = merges;
        let (from_json, notes) = read(&[("tokenizer.json", file.to_string().into())], 9).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        for (key, value) in from_model.iter().filter(|(key, _)| !key.ends_with("scores")) {
            assert_eq!(from_json.get(key), Some(value), "{key}");
        }
        let scores = scores(&from_json);
        assert!(scores[4] > scores[5], "the order of the merges");
        assert!(
            scores[6..].iter().all(|&score| score <= scores[5]),
            "characters are not merged"
        );
    }
}

#[test]
fn prefixes_and_bos_by_other_means() {
    let flags = |change: &dyn Fn(&mut Json)| {
        let mut file = json_file();
        change(&mut file);
        let (metadata, _) = read(&[("tokenizer.json", file.to_string().into())], 9).unwrap();
        let flag = |key: &str| metadata.bool(&format!("tokenizer.ggml.{key}")).unwrap().unwrap();
        (flag("add_space_prefix"), flag("add_bos_token"))
    };
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "prepend_scheme": scheme});
    assert_eq!(flags(&|_| {}), (true, true));
    assert_eq!(flags(&|file| file["normalizer"] = json!(null)), (false, true));
    assert_eq!(flags(&|file| file["post_processor"] = json!(null)), (true, false));
    for (scheme, expected) in [("first", true), ("always", true), ("never", false)] {
        let found = flags(&|file| {
            file["normalizer"] = json!(null);
            file["pre_tokenizer"] = metaspace(scheme);
        });
        assert_eq!(found.0, expected, "{scheme}");
    }
}

#[test]
fn settings_and_added_tokens() {
    let config = json!({
        "bos_token": {"content": "<s>"}, "eos_token": "<|end|>", "add_bos_token": false, "add_eos_token": true,
        "added_tokens_decoder": {
            "4": {"content": "\u{2581}a", "special": false},
            "9": {"content": "<|end|>", "special": true},
            "12": {"content": "<|far|>", "special": true},
        },
        "chat_template": [{"name": "default", "template": "A"}, {"name": "tools", "template": "B"}],
    });
    let added = json!({"[X]": 10});
    let files = [
        sentencepiece(),
        ("tokenizer_config.json", config.to_string().into_bytes()),
        ("added_tokens.json", added.to_string().into_bytes()),
    ];
    let (metadata, notes) = read(&files, 12).unwrap();
    assert_eq!(tokens(&metadata)[9..], ["<|end|>", "[X]", "[PAD11]"]);
    assert_eq!(types(&metadata)[4..], [4, 1, 1, 1, 1, 3, 4, 5]);
    assert_eq!(metadata.u32("tokenizer.ggml.eos_token_id").unwrap(), Some(9));
    assert_eq!(
        metadata.bool("tokenizer.ggml.add_bos_token").unwrap(),
        Some(false)
    );
    assert_eq!(metadata.bool("tokenizer.ggml.add_eos_token").unwrap(), Some(true));
    assert_eq!(metadata.str("tokenizer.chat_template").unwrap(), Some("A"));
    assert_eq!(metadata.str("tokenizer.chat_template.tools").unwrap(), Some("B"));
    assert_eq!(
        notes,
        ["added token 12 `<|far|>` is left out: the model has 12 tokens"]
    );

    let files = [
        files[0].clone(),
        files[1].clone(),
        ("chat_template.jinja", b"C".to_vec()),
    ];
    let (metadata, _) = read(&files, 12).unwrap();
    assert_eq!(metadata.str("tokenizer.chat_template").unwrap(), Some("C"));
}

#[test]
fn what_is_not_understood() {
    let of_model = |change: &dyn Fn(&mut ModelProto), vocab_size| {
        let mut model = model();
        change(&mut model);
        read(&[("tokenizer.model", model.encode_to_vec())], vocab_size).unwrap_err()
    };
    let of_json = |change: &dyn Fn(&mut Json)| {
        let mut file = json_file();
        change(&mut file);
        read(&[("tokenizer.json", file.to_string().into())], 9).unwrap_err()
    };
    let cases = [
        (
            of_model(&|m| m.trainer = None, 9),
            "a SentencePiece model of type 1, expected 2 (BPE)",
        ),
        (of_model(&|_| {}, 8), "9 pieces for a model of 8 tokens"),
        (of_model(&|m| m.pieces.clear(), 9), "0 pieces"),
        (
            of_model(&|m| m.pieces[5].score = Some(f32::NAN), 9),
            "the score of piece 5 is NaN",
        ),
        (
            of_model(&|m| m.pieces[5].kind = Some(9), 9),
            "piece 5 is of type 9",
        ),
        (
            read(&[("tokenizer.model", vec![0xff; 9])], 9).unwrap_err(),
            "not a SentencePiece model",
        ),
        (
            of_json(&|f| f["model"]["byte_fallback"] = json!(false)),
            "a tokenizer of type BPE, expected BPE with byte",
        ),
        (
            of_json(&|f| f["model"]["vocab"] = json!([])),
            "no map from pieces to ids",
        ),
        (
            of_json(&|f| f["model"]["vocab"] = json!({})),
            "the vocabulary is empty",
        ),
        (
            of_json(&|f| f["model"]["vocab"]["c"] = json!(4_000_000_000u32)),
            "`c` has id 4000000000 in a model of 9",
        ),
        (
            of_json(&|f| f["model"]["vocab"]["c"] = json!(-1)),
            "the id of `c` is -1",
        ),
        (
            of_json(&|f| f["model"]["vocab"]["c"] = json!(8)),
            "id 8 belongs to `c` and to another",
        ),
        (
            of_json(&|f| f["model"]["merges"][0] = json!("ab")),
            "merge 0 is no pair",
        ),
    ];
    for (error, expected) in cases {
        assert!(
            error.contains(expected),
            "`{error}` does not contain `{expected}`"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_files_do_not_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for (name, mut bytes) in [sentencepiece(), ("tokenizer.json", json_file().to_string().into())] {
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let _ = read(&[(name, bytes)], 12);
        }
    }
}
