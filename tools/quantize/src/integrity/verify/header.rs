//! The header: its own hash, each entry, and what a tokenizer needs.

use super::verdict::{FaultKind, Verdict};
use crate::integrity::digest::hex;
use crate::integrity::manifest;
use bise_format::TensorName;
use bise_format::gguf::{Array, Gguf, Value};
use std::collections::{HashMap, HashSet};

/// Compares header, entries and length with what is recorded.
pub(super) fn check(file: &[u8], gguf: &Gguf, verdict: &mut Verdict) {
    let before = verdict.faults.len();
    check_entries(gguf, verdict);
    check_length(file, gguf, verdict);
    let header = &file[..file.len().min(gguf.data_offset as usize)];
    let stated = gguf
        .metadata
        .str(manifest::HEADER)
        .ok()
        .flatten()
        .unwrap_or_default();
    if hex(&manifest::header_digest(header, stated)) != stated {
        let what = "the header does not hash to what it says";
        if verdict.faults.len() == before {
            verdict.fault(FaultKind::Header, what);
        }
    }
    verdict.good_since(
        before,
        format!(
            "{} metadata entries and the header are as they were written",
            gguf.metadata.len()
        ),
    );
}

/// Names the entries that differ from those recorded.
fn check_entries(gguf: &Gguf, verdict: &mut Verdict) {
    let recorded = gguf
        .metadata
        .strings(manifest::METADATA)
        .ok()
        .flatten()
        .unwrap_or_default();
    let split = |entry: &String| {
        let (key, value) = entry.split_once(' ').unwrap_or((entry, ""));
        (key.to_owned(), value.to_owned())
    };
    let mut expected: HashMap<String, String> = recorded.iter().map(split).collect();
    for (key, value) in manifest::entries(&gguf.metadata).iter().map(split) {
        match expected.remove(&key) {
            Some(old) if old == value => {}
            Some(old) => verdict.fault(kind(&key), format!("{key} is {value}, it was {old}")),
            None => verdict.fault(kind(&key), format!("{key} is {value}, it was not there")),
        }
    }
    let mut missing: Vec<_> = expected.into_iter().collect();
    missing.sort();
    for (key, old) in missing {
        verdict.fault(kind(&key), format!("{key} is not there, it was {old}"));
    }
}

fn kind(key: &str) -> FaultKind {
    match key {
        _ if key.ends_with(".rope.freq_base") => FaultKind::RopeBase,
        _ if key.starts_with("tokenizer.") => FaultKind::Tokenizer,
        _ => FaultKind::Metadata,
    }
}

/// A file as bise writes it ends behind the last tensor, and has zeros between tensors.
fn check_length(file: &[u8], gguf: &Gguf, verdict: &mut Verdict) {
    let mut at = gguf.data_offset;
    for info in gguf.tensors.values() {
        let start = gguf.data_offset + info.offset;
        check_gap(file, at, start, verdict);
        at = start + info.len;
    }
    let (expected, found) = (at.next_multiple_of(gguf.alignment), file.len() as u64);
    check_gap(file, at, expected, verdict);
    match found {
        _ if found < expected => {
            verdict.fault(
                FaultKind::Truncated,
                format!("the file is {found} bytes long, expected {expected}"),
            );
        }
        _ if found > expected => {
            verdict.fault(
                FaultKind::Header,
                format!(
                    "{} bytes follow the last tensor, at byte {expected}",
                    found - expected
                ),
            );
        }
        _ => {}
    }
}

fn check_gap(file: &[u8], from: u64, to: u64, verdict: &mut Verdict) {
    let gap = file
        .get(from as usize..(to as usize).min(file.len()))
        .unwrap_or_default();
    if let Some(at) = gap.iter().position(|byte| *byte != 0) {
        let at = from + at as u64;
        verdict.fault(
            FaultKind::Bits,
            format!(
                "the byte between tensors at {at} is {}, expected 0",
                file[at as usize]
            ),
        );
    }
}

/// Tokens that the model has embeddings for.
pub(super) fn vocabulary(gguf: &Gguf) -> u64 {
    let embeddings = gguf.tensor(&TensorName::Embedding.to_string());
    embeddings.and_then(|info| info.dims.get(1).copied()).unwrap_or(1)
}

/// What every tokenizer has, whichever it is.
pub(super) fn check_tokenizer(gguf: &Gguf, verdict: &mut Verdict) {
    let before = verdict.faults.len();
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let mut fault = |what: String| verdict.fault(FaultKind::Tokenizer, what);
    let Ok(Some(tokens)) = gguf.metadata.strings(&key("tokens")) else {
        verdict
            .unchecked
            .push("the tokenizer: the file has none".to_owned());
        return;
    };
    let (found, rows) = (tokens.len() as u64, vocabulary(gguf));
    if found > rows {
        fault(format!("the tokenizer has {found} tokens, the model {rows}"));
    }
    for name in ["scores", "token_type"] {
        if let Some(Value::Array(array)) = gguf.metadata.get(&key(name)) {
            if array.len() != tokens.len() {
                fault(format!(
                    "{} has {} values for {found} tokens",
                    key(name),
                    array.len()
                ));
            }
            if let Array::F32(scores) = array
                && let Some(i) = scores.iter().position(|s| !s.is_finite())
            {
                fault(format!("the score of token {i} is {}", scores[i]));
            }
        }
    }
    for name in [
        "bos_token_id",
        "eos_token_id",
        "eot_token_id",
        "eom_token_id",
        "unknown_token_id",
        "padding_token_id",
    ] {
        if let Some(id) = gguf
            .metadata
            .u64(&key(name))
            .ok()
            .flatten()
            .filter(|id| *id >= rows && *id != u64::from(u32::MAX))
        {
            fault(format!("{} is {id}, of {rows} tokens", key(name)));
        }
    }
    let mut seen = HashSet::new();
    if let Some(twice) = tokens.iter().find(|token| !seen.insert(token.as_str())) {
        fault(format!("token {twice:?} occurs twice"));
    }
    verdict.good_since(
        before,
        format!("the tokenizer's {found} tokens fit each other and the model"),
    );
}
