//! Merging by pairs of tokens, as BPE does it: as long as two neighbours have a merge, the pair
//! whose merge has the lowest rank is replaced by what it makes; of equal ranks, the leftmost pair.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The merges of a vocabulary.
#[derive(Debug, Default)]
pub(super) struct Merges(HashMap<(u32, u32), Merge>);

/// What two neighbours become.
#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    id: u32,
}

impl Merges {
    pub fn with_capacity(count: usize) -> Self {
        Self(HashMap::with_capacity(count))
    }

    /// Adds a merge; of two of the same pair the first counts.
    pub fn insert(&mut self, pair: (u32, u32), rank: u32, id: u32) {
        self.0.entry(pair).or_insert(Merge { rank, id });
    }
}

/// Merges one word after another, keeping its buffers.
#[derive(Debug, Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    /// Best first.
    pairs: BinaryHeap<Reverse<Pair>>,
}

/// Two neighbours that have a merge: lowest rank first, then the leftmost.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    left: u32,
    right: u32,
    /// The two tokens as they were.
    ids: (u32, u32),
}

/// A token in a doubly linked list; `id` is `NONE` once merged into its left neighbour.
#[derive(Debug)]
struct Symbol {
    id: u32,
    previous: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

impl Merger {
    /// Appends what becomes of the tokens `word` to `out`.
    pub fn merge(
        &mut self,
        merges: &Merges,
        word: impl IntoIterator<Item = u32>,
        out: &mut Vec<u32>,
    ) {
        self.symbols.clear();
        self.symbols
            .extend(word.into_iter().enumerate().map(|(i, id)| Symbol {
                id,
                previous: (i as u32).wrapping_sub(1),
                next: i as u32 + 1,
            }));
        for right in 1..self.symbols.len() as u32 {
            self.consider(merges, right - 1, right);
        }
        while let Some(Reverse(pair)) = self.pairs.pop() {
            // A token that has grown since has another id.
            let (l, r) = (
                &self.symbols[pair.left as usize],
                &self.symbols[pair.right as usize],
            );
            if (l.id, r.id) == pair.ids && l.next == pair.right {
                self.join(merges, pair.left, pair.right);
            }
        }
        let mut at = 0;
        while let Some(symbol) = self.symbols.get(at as usize) {
            out.push(symbol.id);
            at = symbol.next;
        }
    }

    /// Makes the neighbours `left` and `right` a candidate if they have a merge.
    fn consider(&mut self, merges: &Merges, left: u32, right: u32) {
        let (Some(l), Some(r)) =
            (self.symbols.get(left as usize), self.symbols.get(right as usize))
        else {
            return;
        };
        let ids = (l.id, r.id);
        if let Some(&Merge { rank, .. }) = merges.0.get(&ids) {
            self.pairs.push(Reverse(Pair {
                rank,
                left,
                right,
                ids,
            }));
        }
    }

    fn join(&mut self, merges: &Merges, left: u32, right: u32) {
        let (l, r) = (&self.symbols[left as usize], &self.symbols[right as usize]);
        let (id, next, previous) = (merges.0[&(l.id, r.id)].id, r.next, l.previous);
        self.symbols[right as usize].id = NONE;
        let l = &mut self.symbols[left as usize];
        (l.id, l.next) = (id, next);
        if let Some(following) = self.symbols.get_mut(next as usize) {
            following.previous = left;
        }
        self.consider(merges, previous, left);
        self.consider(merges, left, next);
    }
}
