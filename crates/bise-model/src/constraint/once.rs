//! Keys that come once.
//!
//! The parser lets a key come twice where a schema does not name it (`patternProperties`,
//! `additionalProperties`), and counts it twice. Whoever reads the text has one of the two. So of
//! the tokens that the parser allows, those are forbidden that end a key which its object has
//! already, and those after which nothing else could follow:
//!
//! ```text
//! {"y": 1, "       of keys ^[yz]$: z is the only one left
//! {"y": 1, "z": 2  and now no comma can follow
//! ```

use super::keys::{Keys, Place};
use super::table::TokenTable;
use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokTrie};
use std::collections::HashMap;

/// Takes out of `mask` what makes a key come twice; `keys` are those of the text so far, which
/// `matcher` has read.
pub(super) fn forbid(table: &TokenTable, matcher: &Matcher, keys: &Keys, mask: &mut SimpleVob) {
    if !keys.any() {
        return;
    }
    let mut ahead = Ahead {
        table,
        matcher,
        known: HashMap::new(),
    };
    let free = |token: &u32| mask.is_allowed(*token);
    let twice: Vec<u32> = match keys.place() {
        Place::Key | Place::KeyEscape => {
            let all = mask.iter();
            all.filter(|&token| ahead.forbids(token, keys)).collect()
        }
        _ => {
            let marked = table.marked().iter().copied().filter(free);
            marked.filter(|&token| ahead.forbids(token, keys)).collect()
        }
    };
    twice.into_iter().for_each(|token| mask.disallow_token(token));
}

/// What could follow a token.
struct Ahead<'a> {
    table: &'a TokenTable,
    matcher: &'a Matcher,
    /// Whether a key is left, after so many brackets and this beginning of one. What the tokens
    /// before it said is taken to make no difference.
    known: HashMap<(usize, Place, Vec<u8>), bool>,
}

impl Ahead<'_> {
    fn forbids(&mut self, token: u32, keys: &Keys) -> bool {
        let bytes = self.table.trie().token(token);
        if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) || !matters(keys, bytes) {
            return false;
        }
        let mut after = keys.clone();
        if !after.push(bytes) {
            return true;
        }
        let open = match after.place() {
            Place::BeforeKey => !after.used().is_empty(),
            Place::Key => after
                .used()
                .iter()
                .any(|key| key.written.starts_with(after.key())),
            _ => false,
        };
        open && !self.leaves_a_key(token, &after)
    }

    /// Whether the key that comes next after `token`, or is in progress there, can be one that its
    /// object does not have.
    fn leaves_a_key(&mut self, token: u32, after: &Keys) -> bool {
        let place = (after.depth(), after.place(), after.key().to_vec());
        if let Some(&known) = self.known.get(&place) {
            return known;
        }
        let mut matcher = self.matcher.clone();
        let mut tokens = vec![token];
        if after.place() == Place::BeforeKey {
            tokens.extend(self.table.byte(b'"'));
        }
        let read = matcher.try_consume_tokens(&tokens);
        let used: Vec<&[u8]> = after.used().iter().map(|key| key.written.as_slice()).collect();
        let left = read.is_ok_and(|read| read == tokens.len())
            && self.deviates(&mut matcher, &mut after.key().to_vec(), &used);
        self.known.insert(place, left);
        left
    }

    /// Whether a key that begins with `begun`, all that `matcher` has read of it, can go on to one
    /// that is not `used`.
    fn deviates(&self, matcher: &mut Matcher, begun: &mut Vec<u8>, used: &[&[u8]]) -> bool {
        let mut next: Vec<u8> = Vec::new();
        for key in used.iter().filter(|key| key.starts_with(begun)) {
            next.push(key.get(begun.len()).copied().unwrap_or(b'"'));
        }
        next.sort_unstable();
        next.dedup();
        let Ok(mask) = matcher.compute_mask() else {
            return false;
        };
        let first = |token| self.table.trie().token(token).first().copied();
        if mask
            .iter()
            .any(|token| first(token).is_some_and(|byte| !next.contains(&byte)))
        {
            return true;
        }
        let ends = used.contains(&begun.as_slice());
        for byte in next.into_iter().filter(|&byte| byte != b'"' || !ends) {
            let Some(token) = self.table.byte(byte) else {
                return true;
            };
            if !matcher.try_consume_tokens(&[token]).is_ok_and(|read| read == 1) {
                continue;
            }
            begun.push(byte);
            let found = self.deviates(matcher, begun, used);
            begun.pop();
            if found || matcher.rollback(1).is_err() {
                return found;
            }
        }
        false
    }
}

/// Whether a token of these bytes can end or begin a key, or lead on to one that is there.
fn matters(keys: &Keys, bytes: &[u8]) -> bool {
    let marked = bytes.iter().any(|byte| b"\",".contains(byte));
    marked
        || (keys.place() == Place::Key
            && keys.used().iter().any(|key| {
                let rest = key.written.strip_prefix(keys.key());
                rest.is_some_and(|rest| rest.starts_with(bytes))
            }))
}
