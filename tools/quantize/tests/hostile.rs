//! Files made to break readers: each of `fixtures/hostile` has its error, and so have random
//! changes of these and of good files.
//!
//! The readers are those of the fuzz targets (see `fuzz/`), which count the memory that is taken.

#[path = "../../../fuzz/src/counting.rs"]
mod counting;
#[path = "directory/native.rs"]
mod native;
#[path = "../../../fuzz/src/readers.rs"]
mod readers;

use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

type Reader = fn(&[u8]) -> Result<(), String>;

const READERS: [(&str, Reader); 14] = [
    ("gguf", readers::gguf),
    ("split", readers::split),
    ("safetensors", readers::safetensors),
    ("config", readers::config),
    ("params", readers::params),
    ("sentencepiece", readers::sentencepiece),
    ("tekken", readers::tekken),
    ("tokenizer_json", readers::tokenizer_json),
    ("tokenizer_config", readers::tokenizer_config),
    ("index", readers::index),
    ("imatrix", readers::imatrix),
    ("adapter_config", readers::adapter_config),
    ("adapter_weights", readers::adapter_weights),
    ("adapter_gguf", readers::adapter_gguf),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

#[test]
fn every_hostile_file_has_its_error() {
    let expected = fs::read(fixture("hostile/expected.json")).unwrap();
    let mut expected: BTreeMap<String, Option<String>> = serde_json::from_slice(&expected).unwrap();
    // Those that have no reader here are tried in bise-model.
    expected.retain(|name, _| {
        READERS
            .iter()
            .any(|(folder, _)| name.starts_with(&format!("{folder}/")))
    });
    let (mut seen, mut wrong) = (0, Vec::new());
    for (folder, read) in READERS {
        for entry in fs::read_dir(fixture("hostile").join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            let result = read(&fs::read(fixture("hostile").join(&name)).unwrap());
            let words = expected.get(&name);
            let good = match (&result, words) {
                (Ok(()), Some(None)) => true,
                (Err(error), Some(Some(words))) => error.contains(words),
                _ => false,
            };
            if !good {
                wrong.push(format!("{name}: {result:?}, expected {words:?}"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, expected.len(), "files and expectations");
}

/// Files for each reader: the hostile ones, and some that are sound.
static SEEDS: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let good: [&[&str]; READERS.len()] = [
        &["gguf/little.gguf", "gguf/big.gguf", "gguf/aligned.gguf"],
        &[],
        &["random/mistral-window-7/model.safetensors"],
        &[
            "random/mistral-window-7/config.json",
            "random/mixtral-window-7/config.json",
        ],
        &[],
        &[],
        &[],
        &[],
        &["tiny-mixtral/tokenizer_config.json"],
        &["random/mistral-sharded/model.safetensors.index.json"],
        &[],
        &["adapters/ranks/adapter_config.json"],
        &["adapters/ranks/adapter_model.safetensors"],
        &["adapters/gguf/plain.gguf", "adapters/gguf/experts.gguf"],
    ];
    let seeds = READERS.iter().zip(good).map(|((folder, _), good)| {
        let hostile = fs::read_dir(fixture("hostile").join(folder)).unwrap();
        let mut paths: Vec<PathBuf> = hostile.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.extend(good.iter().map(|name| fixture(name)));
        let mut seeds: Vec<Vec<u8>> =
            paths.into_iter().map(|path| fs::read(path).unwrap()).collect();
        if *folder == "params" {
            let config = fs::read(fixture("random/mistral-window-7/config.json")).unwrap();
            let params = native::params(&serde_json::from_slice(&config).unwrap());
            seeds.push(params.to_string().into_bytes());
        }
        seeds
    });
    seeds.collect()
});

#[test]
fn sound_files_are_read() {
    for (reader, seeds) in READERS.iter().zip(SEEDS.iter()) {
        let read = seeds.iter().filter(|seed| reader.1(seed).is_ok()).count();
        assert!(read > 0, "{}", reader.0);
    }
}

/// A change of a file.
#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    Bit(Index, u8),
    /// A number that overflows something, as wide as it is.
    Number(Index, u64, bool),
    Digits(Index, u64),
    Cut(Index),
    Remove(Index, u8),
    Repeat(Index, u8, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let number = prop_oneof![
        Just(0u64),
        Just(1),
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 62),
        Just(1 << 32),
        Just(u64::from(u32::MAX)),
        Just(i64::MAX as u64),
        any::<u64>(),
    ];
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (at(), 0..8u8).prop_map(|(at, bit)| Change::Bit(at, bit)),
        (at(), number.clone(), any::<bool>()).prop_map(|(at, n, wide)| Change::Number(at, n, wide)),
        (at(), number).prop_map(|(at, n)| Change::Digits(at, n)),
        at().prop_map(Change::Cut),
        (at(), any::<u8>()).prop_map(|(at, len)| Change::Remove(at, len)),
        (at(), any::<u8>(), any::<u8>())
            .prop_map(|(at, len, times)| Change::Repeat(at, len, times)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let len = bytes.len();
    if len == 0 {
        return;
    }
    // Headers are where numbers do harm.
    let place = |at: &Index| at.index(len.min(4096));
    match change {
        Change::Byte(at, byte) => bytes[place(at)] = *byte,
        Change::Bit(at, bit) => bytes[place(at)] ^= 1 << bit,
        Change::Number(at, n, wide) => {
            let (at, size) = (place(at), if *wide { 8 } else { 4 });
            let end = (at + size).min(len);
            bytes[at..end].copy_from_slice(&n.to_le_bytes()[..end - at]);
        }
        Change::Digits(at, n) => {
            let digit = bytes[place(at)..].iter().position(u8::is_ascii_digit);
            if let Some(from) = digit.map(|i| place(at) + i) {
                let end = bytes[from..]
                    .iter()
                    .position(|b| !b.is_ascii_digit())
                    .map_or(len, |i| from + i);
                bytes.splice(from..end, n.to_string().into_bytes());
            }
        }
        Change::Cut(at) => bytes.truncate(at.index(len)),
        Change::Remove(at, count) => {
            drop(bytes.drain(place(at)..(place(at) + usize::from(*count)).min(len)))
        }
        Change::Repeat(at, count, times) => {
            let part = bytes[place(at)..(place(at) + usize::from(*count)).min(len)]
                .repeat(usize::from(*times));
            bytes.splice(place(at)..place(at), part);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn changed_files(reader in 0..READERS.len(), seed in any::<Index>(), changes in prop::collection::vec(change(), 1..5)) {
        let mut bytes = seed.get(&SEEDS[reader]).clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        let _ = READERS[reader].1(&bytes);
    }
}
