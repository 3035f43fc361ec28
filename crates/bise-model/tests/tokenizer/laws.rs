//! What holds for every text and every sequence of ids.

use std::sync::LazyLock;

use bise_model::tokenizer::{Algorithm, Detokenizer, TokenKind, Tokenizer, Vocabulary};
use proptest::prelude::*;

use super::{mistral, read_back};

static V1: LazyLock<Tokenizer> = LazyLock::new(|| mistral("v1"));
static V3: LazyLock<Tokenizer> = LazyLock::new(|| mistral("v3"));

/// Texts with what has a meaning to the tokenizer well mixed in.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => any::<String>().prop_map(String::into_bytes),
        2 => "[ a-e\n\u{2581}é]{0,20}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::sample::select(vec!["<s>", "</s>", "[INST]", "<unk>", "<0x41>", "[REFERENCE_DOC_1]"])
            .prop_map(|s| s.as_bytes().to_vec()),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// Ids with many bytes, spaces and special tokens among them, some outside the vocabulary.
fn ids() -> impl Strategy<Value = Vec<u32>> {
    let id = prop_oneof![
        3 => 3..259u32,
        2 => prop::sample::select(b"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80".map(|b| u32::from(b) + 3).to_vec()),
        1 => 0..3u32,
        1 => 259..262u32,
        3 => 0..32000u32,
        1 => prop::sample::select(vec![28705, 32000, u32::MAX]),
    ];
    prop::collection::vec(id, 0..24)
}

/// SentencePiece's decoding, in one pass over all ids.
fn decode_at_once(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let is_byte = |id: u32| tokenizer.kind(id) == Some(TokenKind::Byte);
    let (mut text, mut space_seen) = (String::new(), false);
    for run in ids.chunk_by(|&a, &b| is_byte(a) && is_byte(b)) {
        if is_byte(run[0]) {
            let byte = |&id: &u32| u8::from_str_radix(&tokenizer.piece(id)[3..5], 16).unwrap();
            let bytes: Vec<u8> = run.iter().map(byte).collect();
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                text.push_str(&"\u{fffd}".repeat(chunk.invalid().len()));
            }
            continue;
        }
        let piece = match tokenizer.kind(run[0]) {
            None | Some(TokenKind::Control) => continue,
            Some(TokenKind::Unknown) => " \u{2047} ",
            Some(_) => tokenizer.piece(run[0]),
        };
        let stripped = piece
            .strip_prefix('\u{2581}')
            .filter(|_| text.is_empty() && !space_seen);
        space_seen |= stripped.is_some();
        text.push_str(&stripped.unwrap_or(piece).replace('\u{2581}', " "));
    }
    text
}

/// Merging by its definition: as long as there is a pair to merge, the leftmost of those with the
/// best score.
fn merge_by_definition(vocabulary: &Vocabulary, text: &str) -> Vec<String> {
    let score = |piece: &str| {
        let id = vocabulary.pieces.iter().position(|p| p == piece)?;
        (vocabulary.kinds[id] == TokenKind::Normal).then(|| vocabulary.scores[id])
    };
    let mut symbols: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(usize, f32)> = None;
        for i in 1..symbols.len() {
            let found = score(&format!("{}{}", symbols[i - 1], symbols[i]));
            if let Some(s) = found.filter(|&s| best.is_none_or(|(_, b)| s > b)) {
                best = Some((i, s));
            }
        }
        let Some((i, _)) = best else { return symbols };
        let right = symbols.remove(i);
        symbols[i - 1].push_str(&right);
    }
}

/// Vocabularies of words over three letters, with few different scores.
fn small_vocabularies() -> impl Strategy<Value = Vocabulary> {
    let piece = ("[abc\u{2581}]{2,5}", 0..6u8);
    prop::collection::btree_map(piece.0, piece.1, 1..40).prop_map(|made| {
        let rows = ["<unk>", "<s>", "a", "b", "c", "\u{2581}"].map(|p| (p.to_owned(), 9));
        let rows: Vec<_> = rows.into_iter().chain(made).collect();
        let kind = |id| match id {
            0 => TokenKind::Unknown,
            1 => TokenKind::Control,
            _ => TokenKind::Normal,
        };
        Vocabulary {
            algorithm: Algorithm::SentencePiece,
            scores: rows.iter().map(|(_, score)| -f32::from(*score)).collect(),
            kinds: (0..rows.len()).map(kind).collect(),
            pieces: rows.into_iter().map(|(piece, _)| piece).collect(),
            bos: Some(1),
            eos: None,
            ends: Vec::new(),
            unk: Some(0),
            add_bos: true,
            add_eos: false,
            add_space_prefix: false,
            rules: None,
            reasoning: None,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn text_makes_no_control_token(text in texts()) {
        for tokenizer in [&*V1, &*V3] {
            for id in tokenizer.encode(&text) {
                let kind = tokenizer.kind(id);
                prop_assert!(!matches!(kind, None | Some(TokenKind::Control | TokenKind::Unknown)), "{id}");
            }
        }
    }

    #[test]
    fn decoding_reads_back_what_was_encoded(text in texts()) {
        for tokenizer in [&*V1, &*V3] {
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text)), read_back(&text));
        }
    }

    #[test]
    fn prompts_begin_with_one_bos(text in texts()) {
        let ids = V1.encode_prompt(&text);
        prop_assert_eq!(ids[0], 1);
        prop_assert_eq!(&ids[1..], V1.encode(&text));
    }

    /// Text that goes on with another has no space in front but its own.
    #[test]
    fn continuing_text_is_what_it_says(text in texts()) {
        for tokenizer in [&*V1, &*V3] {
            let ids = tokenizer.encode_continuing(&text);
            let mut detokenizer = Detokenizer::continuing(tokenizer);
            let mut found: String = ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect();
            found.push_str(detokenizer.finish());
            prop_assert_eq!(found, read_back(&text));
            if !text.is_empty() {
                prop_assert_eq!(tokenizer.encode_continuing(&[b" ", &text[..]].concat()), tokenizer.encode(&text));
            }
        }
    }

    #[test]
    fn pushes_make_up_the_whole_text(ids in ids()) {
        let mut detokenizer = Detokenizer::new(&V1);
        let mut text: String = ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect();
        text.push_str(detokenizer.finish());
        prop_assert_eq!(&text, &V1.decode(&ids));
        prop_assert_eq!(text, decode_at_once(&V1, &ids));
    }

    /// Decoding a continuation gives what is missing after the text of a prompt.
    #[test]
    fn continuations_keep_their_space(text in texts(), ids in ids()) {
        let prompt = V1.encode(&text);
        // A prompt ends with a whole character, so that no byte is left over; its text is not
        // empty.
        prop_assume!(!read_back(&text).is_empty());
        let mut detokenizer = Detokenizer::continuing(&V1);
        let mut rest: String = ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect();
        rest.push_str(detokenizer.finish());
        let whole = V1.decode(&[prompt.clone(), ids].concat());
        prop_assert_eq!(whole, V1.decode(&prompt) + &rest);
    }

    #[test]
    fn merging_follows_its_definition(vocabulary in small_vocabularies(), text in "[abc ]{0,40}") {
        let tokenizer = Tokenizer::new(vocabulary.clone()).unwrap();
        let ids = tokenizer.encode(text.as_bytes());
        let pieces: Vec<_> = ids.iter().map(|&id| tokenizer.piece(id).to_owned()).collect();
        prop_assert_eq!(pieces, merge_by_definition(&vocabulary, &text.replace(' ', "\u{2581}")));
    }
}

/// A megabyte takes no time to speak of, whatever it says; with a quadratic step this would take
/// hours.
#[test]
fn long_texts_are_encoded() {
    let million = 1_000_000;
    let words = "It was a bright cold day in April, and the clocks were striking 13.\n";
    for text in [
        words,
        "a",
        " ",
        "-=",
        "\u{1f600}",
        "[REFERENCE_DOC_1]",
        "\u{2581}",
        "ab",
    ] {
        let text = text.repeat(million / text.len());
        let start = std::time::Instant::now();
        let ids = V3.encode(text.as_bytes());
        println!(
            "{:>8} tokens in {:?}: {:?}...",
            ids.len(),
            start.elapsed(),
            text.chars().next()
        );
        assert_eq!(V3.decode(&ids), read_back(text.as_bytes()));
    }
}
