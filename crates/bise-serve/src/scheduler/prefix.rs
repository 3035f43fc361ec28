//! Beginnings that later requests may have too.
//!
//! A text that was processed stays, as long as its pages are not needed: the next turn of its
//! conversation begins with it. Sequences share pages, so that keeping one costs only what nobody
//! else has of it.

use bise_model::Sequence;

/// Texts that are kept at most: what is looked through for each request.
const MOST: usize = 256;

/// Sequences of requests that have ended, the one used last at the end.
#[derive(Default)]
pub struct Prefixes(Vec<Kept>);

struct Kept {
    /// As many as the sequence has processed.
    tokens: Vec<u32>,
    sequence: Sequence,
}

impl Prefixes {
    /// Keeps `sequence`, which has processed `tokens`. Those that it begins with need not be kept.
    pub fn keep(&mut self, tokens: Vec<u32>, sequence: Sequence) {
        debug_assert_eq!(tokens.len(), sequence.len());
        if tokens.is_empty() {
            return;
        }
        self.0.retain(|kept| !tokens.starts_with(&kept.tokens));
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Kept { tokens, sequence });
    }

    /// A sequence of the longest beginning of `tokens` that is known, if it is longer than `least`;
    /// it can be gone on from.
    pub fn find(&mut self, tokens: &[u32], least: usize) -> Option<Sequence> {
        let lens = self.0.iter().map(|kept| common(&kept.tokens, tokens));
        let mut found: Vec<_> = lens.enumerate().filter(|(_, len)| *len > least).collect();
        found.sort_by_key(|&(i, len)| (len, i));
        let (i, sequence) = found.into_iter().rev().find_map(|(i, len)| {
            let sequence = self.0[i].sequence.fork_at(len)?;
            Some((i, sequence))
        })?;
        let used = self.0.remove(i);
        self.0.push(used);
        Some(sequence)
    }

    /// Lets go of the text that was not used for longest; false when there is none.
    pub fn forget_one(&mut self) -> bool {
        let any = !self.0.is_empty();
        if any {
            self.0.remove(0);
        }
        any
    }
}

/// Tokens that both begin with.
pub fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
