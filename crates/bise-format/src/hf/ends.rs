//! The tokens that end a text, of all files of a directory that name some, as GGUF metadata.
//!
//! ```text
//! eos_token_id     the tokenizer's own, already there
//! eot_token_id     the next one, best one that is named as the end of a turn
//! eom_token_id     the one after it
//! end_token_ids    what is left; a key of our own
//! ```
//!
//! llama.cpp ends texts with the first three, wherever they are from.

use super::config::TokenIds;
use crate::error::OpenError;
use crate::gguf::Metadata;
use crate::small_file::read_bounded_json;
use serde::Deserialize;
use std::path::Path;

/// The key of our own, which `bise_model::tokenizer::ENDS_KEY` is too.
const ENDS_KEY: &str = "tokenizer.bise.end_token_ids";

/// Ends of turns, by the names that are common; the last is one of messages.
const NAMES: [&str; 6] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|end|>",
    MESSAGE_END,
];
const MESSAGE_END: &str = "<|eom_id|>";

#[derive(Deserialize)]
struct Listed {
    eos_token_id: Option<TokenIds>,
}

/// Adds the ends that `metadata`, which have a tokenizer, lack; notes say which ids are none of its
/// tokens.
pub(crate) fn describe(
    directory: &Path,
    metadata: &mut Metadata,
    notes: &mut Vec<String>,
) -> Result<(), OpenError> {
    let gguf = |error| OpenError::gguf(directory, error);
    let Some(tokens) = metadata.strings("tokenizer.ggml.tokens").map_err(gguf)? else {
        return Ok(());
    };
    let eos = metadata.u32("tokenizer.ggml.eos_token_id").map_err(gguf)?;
    let mut ends: Vec<u32> = Vec::new();
    for name in ["generation_config.json", "config.json"] {
        let listed: Option<Listed> = read_bounded_json(&directory.join(name))?;
        let ids = listed.and_then(|listed| listed.eos_token_id);
        for id in ids.iter().flat_map(TokenIds::all).copied() {
            if id as usize >= tokens.len() {
                notes.push(format!(
                    "{name}: eos_token_id {id} is left out: there are {} tokens",
                    tokens.len()
                ));
            } else if Some(id) != eos && !ends.contains(&id) {
                ends.push(id);
            }
        }
    }
    let written = |name: &str| {
        let templates = metadata
            .iter()
            .filter(|(key, _)| key.starts_with("tokenizer.chat_template"));
        let mut texts = templates.filter_map(|(key, _)| metadata.str(key).ok().flatten());
        texts.any(|template| template.contains(name))
    };
    for name in NAMES.into_iter().filter(|name| written(name)) {
        let id = tokens.iter().position(|token| token == name).map(|id| id as u32);
        ends.extend(id.filter(|id| Some(*id) != eos && !ends.contains(id)));
    }
    let named = |id: &u32| NAMES.contains(&tokens[*id as usize].as_str());
    ends.sort_by_key(|id| (!named(id), tokens[*id as usize] == MESSAGE_END));
    let mut ends = ends.into_iter();
    for key in ["eot", "eom"] {
        if let Some(id) = ends.next() {
            metadata.insert(format!("tokenizer.ggml.{key}_token_id"), id);
        }
    }
    let rest: Vec<u32> = ends.collect();
    if !rest.is_empty() {
        metadata.insert(ENDS_KEY, rest);
    }
    Ok(())
}
