//! How a byte-level `tokenizer.json` cuts text into words, and what GGUF calls it.

use super::tekken::PATTERN as TEKKEN;
use serde_json::Value as Json;

const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|",
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|",
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
);
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The names that `tokenizer.ggml.pre` has for patterns.
const NAMES: [(&str, &str); 4] = [
    (TEKKEN, "tekken"),
    (LLAMA3, "llama-bpe"),
    (QWEN2, "qwen2"),
    (GPT2, "gpt-2"),
];

fn steps(pre_tokenizer: &Json) -> &[Json] {
    match pre_tokenizer["pretokenizers"].as_array() {
        Some(steps) => steps,
        None => std::slice::from_ref(pre_tokenizer),
    }
}

/// Whether words become bytes in GPT-2's alphabet.
pub(super) fn is_byte_level(pre_tokenizer: &Json) -> bool {
    steps(pre_tokenizer)
        .iter()
        .any(|step| step["type"] == "ByteLevel")
}

/// The name of a byte-level pre-tokenizer.
pub(super) fn name(pre_tokenizer: &Json) -> Result<&'static str, String> {
    let mut patterns = Vec::new();
    for step in steps(pre_tokenizer) {
        match step["type"].as_str() {
            Some("ByteLevel") if step["use_regex"] == false => {}
            Some("ByteLevel") => patterns.push(GPT2),
            Some("Split") if step["behavior"] == "Isolated" && step["invert"] != true => {
                patterns.push(step["pattern"]["Regex"].as_str().unwrap_or("no expression"));
            }
            kind => {
                let kind = kind.unwrap_or("none").to_owned();
                return Err(format!("its words are cut by {kind}, for which GGUF has no name"));
            }
        }
    }
    let known = match patterns.as_slice() {
        [pattern] => NAMES.iter().find(|(known, _)| known == pattern),
        _ => None,
    };
    known.map(|(_, name)| *name).ok_or_else(|| {
        let names = NAMES.map(|(_, name)| name).join(", ");
        format!("its words are cut by {patterns:?}; known are the patterns that GGUF calls {names}")
    })
}
