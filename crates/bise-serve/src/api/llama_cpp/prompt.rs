//! Texts in which control tokens have names, and tokens as such texts.

use bise_model::tokenizer::{Detokenizer, TokenKind, Tokenizer};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// The tokens of a text; where `special` is true, the names of control tokens in it are these.
pub fn encode(tokenizer: &Tokenizer, text: &str, special: bool) -> Vec<u32> {
    match special {
        true => tokenizer.encode_placed(text, &named(tokenizer, text)),
        false => tokenizer.encode(text.as_bytes()),
    }
}

/// Puts the token in front that begins a text, where the vocabulary asks for it.
pub fn begin(tokenizer: &Tokenizer, ids: &mut Vec<u32>) {
    let vocabulary = tokenizer.vocabulary();
    if let Some(bos) = vocabulary.bos.filter(|_| vocabulary.add_bos)
        && ids.first() != Some(&bos)
    {
        ids.insert(0, bos);
    }
}

/// The text of tokens, with the names of control tokens. A text in front of all has no space there
/// that encoding puts there, also behind the token that begins it.
pub fn spell(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut detokenizer = Detokenizer::new(tokenizer);
    let mut text = String::new();
    for &id in ids {
        text.push_str(detokenizer.push(id));
        if tokenizer.kind(id) == Some(TokenKind::Control) {
            text.push_str(tokenizer.piece(id));
            if tokenizer.vocabulary().bos != Some(id) {
                text.push_str(detokenizer.finish());
            }
        }
    }
    text.push_str(detokenizer.finish());
    text
}

/// Where control tokens are named: the longest names, from left to right.
fn named(tokenizer: &Tokenizer, text: &str) -> Vec<(Range<usize>, u32)> {
    let ids = 0..tokenizer.vocabulary().len() as u32;
    let controls = ids.filter(|&id| tokenizer.kind(id) == Some(TokenKind::Control));
    let names: HashMap<&str, u32> = controls.map(|id| (tokenizer.piece(id), id)).collect();
    let names_of = |len: &usize, at: usize| {
        let id = *names.get(text.get(at..at + len)?)?;
        Some((at..at + len, id))
    };
    let firsts: BTreeSet<char> = names.keys().filter_map(|name| name.chars().next()).collect();
    let lengths: BTreeSet<usize> = names.keys().map(|name| name.len()).collect();
    let (mut found, mut end) = (Vec::new(), 0);
    for (at, c) in text.char_indices() {
        if at < end || !firsts.contains(&c) {
            continue;
        }
        let longest = lengths.iter().rev().find_map(|len| names_of(len, at));
        if let Some((range, id)) = longest {
            end = range.end;
            found.push((range, id));
        }
    }
    found
}
