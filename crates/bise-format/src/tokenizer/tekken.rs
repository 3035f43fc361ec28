//! `tekken.json`: Mistral's byte-level vocabularies, as the metadata that llama.cpp's converter
//! makes of them.
//!
//! ```text
//! {"config": {"pattern": "...", "default_vocab_size": 131072, "default_num_special_tokens": 1000, "version": "v3"},
//!  "special_tokens": [{"rank": 0, "token_str": "<unk>", "is_control": true}, ...],      up to v7 often left out
//!  "vocab": [{"rank": 0, "token_bytes": "AA==", "token_str": "\u0000"}, ...]}           more than are used
//! ```
//!
//! Ids are the special tokens first, filled up with `<SPECIAL_n>`, then the vocabulary by rank. The
//! file lists no merges: a token has one for each way to cut it into two tokens.

use super::vocabulary::{TokenType, Vocabulary};
use crate::error::OpenError;
use crate::gguf::Metadata;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// How text is cut into words: the only pattern that readers of `tokenizer.ggml.pre` = `tekken`
/// know.
pub(super) const PATTERN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Where ids of special tokens were the same for all, files leave them out.
const DEFAULT_SPECIALS: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

/// Versions whose special tokens may be left out.
const WITH_DEFAULTS: [&str; 4] = ["v1", "v2", "v3", "v7"];
const WITHOUT_DEFAULTS: [&str; 3] = ["v11", "v13", "v15"];

/// No real vocabulary comes near these.
const MAX_TOKENS: u64 = 1 << 22;
const MAX_SPECIALS: u64 = 1 << 13;
const MAX_TOKEN_LEN: usize = 256;
/// Bytes of memory that merges may take for each byte of the file, and in any case; in real files
/// it is about one.
const MERGES: usize = 2;
const SPARE: usize = 256 << 10;

/// Metadata in which chats find the version.
const VERSION_KEY: &str = "tokenizer.mistral.version";
/// Metadata in which they find what the model can be asked for.
const EFFORTS_KEY: &str = "tokenizer.mistral.reasoning_efforts";
const EFFORT_KEY: &str = "tokenizer.mistral.reasoning_effort";
/// Bytes of what a model can be asked for; there are seven efforts.
const MAX_SETTINGS: usize = 4096;

#[derive(Deserialize)]
struct File<'a> {
    config: Config<'a>,
    #[serde(borrow)]
    vocab: Vec<Entry<'a>>,
    #[serde(borrow)]
    special_tokens: Option<Vec<Special<'a>>>,
    /// Read only when it is as short as it should be.
    #[serde(borrow)]
    model_settings_builder: Option<&'a RawValue>,
}

/// What a v15 model can be asked for.
#[derive(Deserialize)]
struct Settings {
    reasoning_effort: Option<Efforts>,
}

/// How much it can be asked to think, and what is written where nothing is asked for.
#[derive(Clone, Debug, Deserialize)]
struct Efforts {
    values: Vec<String>,
    default: Option<String>,
}

#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow)]
    pattern: Cow<'a, str>,
    default_vocab_size: u64,
    default_num_special_tokens: u64,
    #[serde(borrow)]
    version: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    rank: u64,
    #[serde(borrow)]
    token_bytes: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Special<'a> {
    rank: u64,
    #[serde(borrow)]
    token_str: Cow<'a, str>,
}

/// A vocabulary: its tokens in GPT-2's alphabet of bytes, and its merges.
#[derive(Debug)]
pub(crate) struct Tekken {
    tokens: Vec<String>,
    specials: usize,
    merges: Vec<String>,
    version: String,
    efforts: Option<Efforts>,
}

/// Reads a vocabulary, of at most `vocab_size` tokens where the model says how many it has.
pub(super) fn read(path: &Path, vocab_size: Option<u64>) -> Result<Tekken, OpenError> {
    let bytes = std::fs::read(path).map_err(|e| OpenError::io(path, e))?;
    let file: File = serde_json::from_slice(&bytes).map_err(|e| OpenError::json(path, e))?;
    let parts = Parts::new(&file);
    let len = bytes.len();
    drop(file);
    drop(bytes);
    let tekken = parts.and_then(|parts| parts.tekken(len));
    let tekken = tekken.and_then(|tekken| match vocab_size {
        Some(size) if tekken.tokens.len() as u64 > size => {
            Err(format!("{} tokens for a model of {size}", tekken.tokens.len()))
        }
        _ => Ok(tekken),
    });
    tekken.map_err(|what| OpenError::unsupported(path, what))
}

/// What is needed of a file.
struct Parts {
    specials: Vec<String>,
    words: Vec<Vec<u8>>,
    version: String,
    efforts: Option<Efforts>,
}

impl Parts {
    fn new(file: &File) -> Result<Self, String> {
        let config = &file.config;
        let version = config.version.as_ref();
        if !WITH_DEFAULTS.contains(&version) && !WITHOUT_DEFAULTS.contains(&version) {
            return Err(format!("tokenizer version {version:?}, expected v1 to v15"));
        }
        if config.pattern != PATTERN {
            return Err(format!(
                "words are cut by {:?}, expected {PATTERN:?}",
                config.pattern
            ));
        }
        let (size, count) = (config.default_vocab_size, config.default_num_special_tokens);
        if count > MAX_SPECIALS {
            return Err(format!("{count} special tokens, expected at most {MAX_SPECIALS}"));
        }
        let available = file.vocab.len() as u64 + count;
        if size > available.min(MAX_TOKENS) || count > size {
            return Err(format!(
                "a vocabulary of {size} tokens, {count} of them special, in a file with {} others",
                file.vocab.len()
            ));
        }
        Ok(Self {
            specials: specials(file, count as usize)?,
            words: words(&file.vocab[..(size - count) as usize])?,
            version: version.to_owned(),
            efforts: efforts(file.model_settings_builder)?,
        })
    }

    /// The vocabulary of a file of `len` bytes.
    fn tekken(self, len: usize) -> Result<Tekken, String> {
        let merges = merges(&self.words, MERGES * len + SPARE)?;
        let specials = self.specials.len();
        let mut tokens = self.specials;
        tokens.extend(self.words.iter().map(|word| written(word)));
        Ok(Tekken {
            tokens,
            specials,
            merges,
            version: self.version,
            efforts: self.efforts,
        })
    }
}

impl Tekken {
    /// Whether each token of a `tokenizer.json` is one of these.
    pub(super) fn has_tokens_of(&self, json: &Vocabulary) -> bool {
        let is_here =
            |id: usize, text: &str| self.tokens.get(id).is_some_and(|token| token == text);
        let mut pieces = json.tokens.iter().enumerate();
        pieces.all(|(id, token)| token.as_ref().is_none_or(|token| is_here(id, &token.text)))
            && json
                .added
                .iter()
                .all(|added| is_here(added.id as usize, &added.token.content))
    }

    /// Adds the vocabulary to `metadata` with the keys that llama.cpp's converter writes, filled up
    /// to `vocab_size` tokens.
    pub(super) fn describe(mut self, vocab_size: u64, metadata: &mut Metadata) {
        let named = |text: &str| {
            self.tokens[..self.specials]
                .iter()
                .position(|token| token == text)
        };
        let id = |text: &str| named(text).map(|id| id as u32);
        let ids = [
            ("bos", id("<s>")),
            ("eos", id("</s>")),
            ("unknown", id("<unk>")),
            ("padding", id("<pad>")),
        ];
        let used = self.tokens.len();
        self.tokens
            .extend((used as u64..vocab_size).map(|id| format!("[PAD{id}]")));
        let kind = |id: usize| match id {
            id if id < self.specials => TokenType::Control,
            id if id < used => TokenType::Normal,
            _ => TokenType::Unused,
        };
        let kinds: Vec<i32> = (0..self.tokens.len()).map(|id| kind(id) as i32).collect();
        let mut set =
            |key: &str, value| metadata.set_default(&format!("tokenizer.ggml.{key}"), value);
        set("model", Some("gpt2".into()));
        set("pre", Some("tekken".into()));
        set("scores", Some(vec![0f32; self.tokens.len()].into()));
        set("token_type", Some(kinds.into()));
        set("tokens", Some(self.tokens.into()));
        set("merges", Some(self.merges.into()));
        for (name, id) in ids {
            set(&format!("{name}_token_id"), id.map(Into::into));
        }
        set("add_bos_token", Some(true.into()));
        set("add_eos_token", Some(false.into()));
        metadata.insert(VERSION_KEY, self.version.as_str());
        if let Some(Efforts { values, default }) = self.efforts {
            metadata.insert(EFFORTS_KEY, values);
            if let Some(default) = default {
                metadata.insert(EFFORT_KEY, default);
            }
        }
    }
}

fn efforts(settings: Option<&RawValue>) -> Result<Option<Efforts>, String> {
    let Some(json) = settings.map(RawValue::get) else {
        return Ok(None);
    };
    if json.len() > MAX_SETTINGS {
        return Err(format!(
            "model_settings_builder has {} bytes, expected at most {MAX_SETTINGS}",
            json.len()
        ));
    }
    let settings: Option<Settings> =
        serde_json::from_str(json).map_err(|error| format!("model_settings_builder: {error}"))?;
    Ok(settings.and_then(|settings| settings.reasoning_effort))
}

/// The special tokens, filled up to `count`.
fn specials(file: &File, count: usize) -> Result<Vec<String>, String> {
    let version = file.config.version.as_ref();
    let mut tokens: Vec<String> = match &file.special_tokens {
        Some(listed) => {
            if let Some((id, token)) = listed
                .iter()
                .enumerate()
                .find(|(id, token)| token.rank != *id as u64)
            {
                return Err(format!(
                    "special token {id} ({:?}) has rank {}",
                    token.token_str, token.rank
                ));
            }
            listed
                .iter()
                .map(|token| token.token_str.clone().into_owned())
                .collect()
        }
        None if WITH_DEFAULTS.contains(&version) => DEFAULT_SPECIALS.map(String::from).to_vec(),
        None => {
            return Err(format!(
                "no special_tokens, which a file of version {version} must list"
            ));
        }
    };
    if tokens.len() > count {
        return Err(format!(
            "{} special tokens where there should be {count}",
            tokens.len()
        ));
    }
    tokens.extend((tokens.len()..count).map(|id| format!("<SPECIAL_{id}>")));
    let mut seen = HashSet::with_capacity(count);
    match tokens.iter().find(|token| !seen.insert(token.as_str())) {
        Some(twice) => Err(format!("the special token {twice:?} is there twice")),
        None => Ok(tokens),
    }
}

/// The bytes of the tokens that are not special, by rank.
fn words(entries: &[Entry]) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::with_capacity(entries.len());
    for (rank, entry) in entries.iter().enumerate() {
        if entry.rank != rank as u64 {
            return Err(format!("token {rank} of vocab has rank {}", entry.rank));
        }
        let word = STANDARD.decode(entry.token_bytes.as_bytes());
        let word = word.map_err(|e| format!("token_bytes of rank {rank}: {e}"))?;
        match u8::try_from(rank) {
            Ok(byte) if word != [byte] => {
                return Err(format!("rank {rank} is not the byte {rank}"));
            }
            _ if !(1..=MAX_TOKEN_LEN).contains(&word.len()) => {
                return Err(format!(
                    "rank {rank} has {} bytes, expected 1 to {MAX_TOKEN_LEN}",
                    word.len()
                ));
            }
            _ => words.push(word),
        }
    }
    if words.len() < 256 {
        return Err(format!(
            "{} tokens are not special, expected at least the 256 bytes",
            words.len()
        ));
    }
    Ok(words)
}

/// All ways to make a token of two others, by rank of the token, then of its parts; they take at
/// most `memory` bytes.
///
/// Words that consist of one another have more ways than a file has bytes.
fn merges(words: &[Vec<u8>], memory: usize) -> Result<Vec<String>, String> {
    let mut ranks: HashMap<&[u8], u32> = HashMap::with_capacity(words.len());
    for (rank, word) in words.iter().enumerate() {
        if let Some(first) = ranks.insert(word, rank as u32) {
            return Err(format!("ranks {first} and {rank} have the same bytes"));
        }
    }
    let mut merges = Vec::new();
    let mut left = memory;
    for (rank, word) in words.iter().enumerate().skip(256) {
        let cut = |at| Some((*ranks.get(&word[..at])?, *ranks.get(&word[at..])?, at));
        let mut cuts: Vec<_> = (1..word.len()).filter_map(cut).collect();
        if cuts.is_empty() {
            return Err(format!(
                "rank {rank} ({:?}) is not made of two other tokens",
                written(word)
            ));
        }
        // The list has room for up to twice as many, and a byte may be two in GPT-2's alphabet.
        let cost = cuts.len() * (2 * size_of::<String>() + 2 * word.len() + 1);
        left = left.checked_sub(cost).ok_or_else(|| {
            format!("up to rank {rank} there are {} ways to make tokens of others, which is more than real vocabularies have",
                merges.len() + cuts.len())
        })?;
        cuts.sort_unstable();
        let merge = |(_, _, at): (_, _, usize)| {
            format!("{} {}", written(&word[..at]), written(&word[at..]))
        };
        merges.extend(cuts.into_iter().map(merge));
    }
    Ok(merges)
}

/// Bytes in GPT-2's alphabet: printable ones of Latin-1 as they are, the others in order from
/// U+0100.
fn written(bytes: &[u8]) -> String {
    let letter = |&byte: &u8| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        0..=0x20 => above(byte),
        0x7f..=0xa0 => above(byte - 0x7f + 0x21),
        0xad => above(0x43),
    };
    bytes.iter().map(letter).collect()
}

/// U+0100 and on.
fn above(offset: u8) -> char {
    char::from_u32(0x100 + u32::from(offset)).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gguf::Metadata;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    /// 256 bytes, `ab` and `abc` of 259 that are there, and 20 special tokens, 24 with the filling.
    pub(in crate::tokenizer) fn file() -> Json {
        let mut words: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        words.extend([b"ab".to_vec(), b"abc".to_vec(), b"left out".to_vec()]);
        let entry = |(rank, word): (usize, &Vec<u8>)| json!({ "rank": rank, "token_bytes": STANDARD.encode(word), "token_str": null });
        let vocab: Vec<Json> = words.iter().enumerate().map(entry).collect();
        let config = json!({
            "pattern": PATTERN, "num_vocab_tokens": 259, "default_vocab_size": 24 + 258,
            "default_num_special_tokens": 24, "version": "v3",
        });
        json!({ "config": config, "vocab": vocab })
    }

    fn parse(bytes: &[u8], vocab_size: u64) -> Result<Metadata, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tekken.json");
        std::fs::write(&path, bytes).unwrap();
        let mut metadata = Metadata::new();
        let tekken = read(&path, Some(vocab_size)).map_err(|e| e.to_string())?;
        tekken.describe(vocab_size, &mut metadata);
        Ok(metadata)
    }

    #[test]
    fn the_metadata_of_a_small_file() {
        let metadata = parse(file().to_string().as_bytes(), 300).unwrap();
        let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap();
        assert_eq!(tokens.len(), 300);
        assert_eq!(tokens[..3], ["<unk>", "<s>", "</s>"]);
        assert_eq!(tokens[23..25], ["<SPECIAL_23>", "\u{100}"]);
        assert_eq!(tokens[24 + 0x20], "\u{120}");
        assert_eq!(tokens[24 + 256..24 + 259], ["ab", "abc", "[PAD282]"]);
        let merges = metadata.strings("tokenizer.ggml.merges").unwrap().unwrap();
        assert_eq!(merges, ["a b", "ab c"]);
        let types = metadata.i32s("tokenizer.ggml.token_type").unwrap().unwrap();
        assert_eq!(
            [types[0], types[23], types[24], types[281], types[282], types[299]],
            [3, 3, 1, 1, 5, 5]
        );
        for (key, id) in [("bos", 1), ("eos", 2), ("unknown", 0), ("padding", 11)] {
            assert_eq!(
                metadata.u32(&format!("tokenizer.ggml.{key}_token_id")).unwrap(),
                Some(id)
            );
        }
        assert_eq!(metadata.str(VERSION_KEY).unwrap(), Some("v3"));
    }

    #[test]
    fn hostile_files_are_refused() {
        let special =
            |rank: u64, text: &str| json!({ "rank": rank, "token_str": text, "is_control": true });
        type Change = Box<dyn Fn(&mut Json)>;
        let set = |pointer: &'static str, value: Json| -> Change {
            Box::new(move |file| *file.pointer_mut(pointer).unwrap() = value.clone())
        };
        let add = |value: Json| -> Change {
            Box::new(move |file| file["special_tokens"] = value.clone())
        };
        let cases: Vec<(Change, &str)> = vec![
            (
                set("/config/version", json!("v99")),
                "tokenizer version \"v99\", expected v1 to v15",
            ),
            (
                set("/config/version", json!("v11")),
                "no special_tokens, which a file of version v11 must list",
            ),
            (
                set("/config/pattern", json!(".")),
                "words are cut by \".\", expected",
            ),
            (
                set("/config/default_vocab_size", json!(u64::MAX)),
                "a vocabulary of 18446744073709551615 tokens",
            ),
            (
                set("/config/default_vocab_size", json!(24 + 260)),
                "a vocabulary of 284 tokens, 24 of them special, in a file with 259 others",
            ),
            (
                set("/config/default_vocab_size", json!(-1)),
                "not valid JSON for its purpose",
            ),
            (
                set("/config/default_num_special_tokens", json!(u64::MAX)),
                "18446744073709551615 special tokens, expected at most 8192",
            ),
            (
                set("/config/default_num_special_tokens", json!(283)),
                "283 of them special",
            ),
            (
                add((0..25).map(|rank| special(rank, &format!("[{rank}]"))).collect()),
                "25 special tokens where there should be 24",
            ),
            (
                set("/config/default_num_special_tokens", json!(100)),
                "182 tokens are not special, expected at least the 256 bytes",
            ),
            (set("/vocab/5/rank", json!(6)), "token 5 of vocab has rank 6"),
            (
                set("/vocab/5/token_bytes", json!("AA==")),
                "rank 5 is not the byte 5",
            ),
            (
                set("/vocab/256/token_bytes", json!("?")),
                "token_bytes of rank 256",
            ),
            (set("/vocab/256/token_bytes", json!("")), "rank 256 has 0 bytes"),
            (
                set("/vocab/256/token_bytes", json!(STANDARD.encode([b'a'; 5000]))),
                "rank 256 has 5000 bytes, expected 1 to 256",
            ),
            (
                set("/vocab/257/token_bytes", json!(STANDARD.encode("ab"))),
                "ranks 256 and 257 have the same bytes",
            ),
            (
                set("/vocab/257/token_bytes", json!(STANDARD.encode("xyz"))),
                "rank 257 (\"xyz\") is not made of two other tokens",
            ),
            (set("/vocab/5", json!(null)), "not valid JSON for its purpose"),
            (set("/vocab", json!([])), "in a file with 0 others"),
            (
                add(json!([special(0, "<s>"), special(2, "</s>")])),
                "special token 1 (\"</s>\") has rank 2",
            ),
            (
                add(json!([special(0, "<s>"), special(1, "<s>")])),
                "the special token \"<s>\" is there twice",
            ),
            (
                add(json!([special(0, "<SPECIAL_1>")])),
                "the special token \"<SPECIAL_1>\" is there twice",
            ),
        ];
        for (change, expected) in cases {
            let mut changed = file();
            change(&mut changed);
            let found = parse(changed.to_string().as_bytes(), 300).unwrap_err();
            assert!(
                found.contains("tekken.json: ") && found.contains(expected),
                "{found:?}, expected {expected:?}"
            );
        }
        let found = parse(file().to_string().as_bytes(), 281).unwrap_err();
        assert!(found.ends_with("282 tokens for a model of 281"), "{found}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever a damaged file says, the answer is metadata or an error.
        #[test]
        fn damaged_files_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = file().to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            let _ = parse(&bytes, 300);
        }

        /// Letters of the alphabet, and back by the table that GPT-2 prints.
        #[test]
        fn written_bytes_are_distinct(a in any::<u8>(), b in any::<u8>()) {
            prop_assert_eq!(written(&[a]) == written(&[b]), a == b);
            prop_assert_eq!(written(&[a, b]).chars().count(), 2);
        }
    }
}
