//! The merging at the heart of SentencePiece-BPE.
//!
//! A text starts as a list of characters. As long as two neighbours form a piece of the vocabulary,
//! the pair whose piece has the highest score is replaced by it; of equal scores, the leftmost
//! pair. A heap of candidate pairs makes this `O(n log n)`. A candidate is out of date when one of
//! its symbols has been merged meanwhile, which shows in the length of what it would make.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// A piece that merging can make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub id: u32,
    pub score: f32,
    /// Only a step to longer pieces: where it is left over, the merge that made it is undone.
    pub unused: bool,
}

/// The pieces that merging can make, by their text.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    by_text: HashMap<Box<str>, Piece>,
    longest: usize,
}

impl Pieces {
    /// Adds a piece; of two with the same text the first counts.
    pub fn insert(&mut self, text: &str, piece: Piece) {
        if !text.is_empty() && !self.by_text.contains_key(text) {
            self.longest = self.longest.max(text.len());
            self.by_text.insert(text.into(), piece);
        }
    }

    /// The piece with this text.
    pub fn get(&self, text: &str) -> Option<Piece> {
        if text.len() > self.longest {
            None
        } else {
            self.by_text.get(text).copied()
        }
    }
}

const NONE: usize = usize::MAX;

/// Bytes `start..end` of the text, in a doubly linked list; empty once merged into its left
/// neighbour.
#[derive(Debug)]
struct Symbol {
    start: usize,
    end: usize,
    previous: usize,
    next: usize,
}

impl Symbol {
    fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Two neighbours that form a piece, `len` bytes together.
#[derive(Debug)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// Merges one text after another, keeping its buffers.
#[derive(Debug)]
pub(super) struct Merger<'a> {
    pieces: &'a Pieces,
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
    /// How the unused pieces met in this text fall apart: text to the length of its left part.
    splits: HashMap<Box<str>, usize>,
}

impl<'a> Merger<'a> {
    pub fn new(pieces: &'a Pieces) -> Self {
        Self {
            pieces,
            symbols: Vec::new(),
            pairs: BinaryHeap::new(),
            splits: HashMap::new(),
        }
    }

    /// Calls `emit` with each piece of the merged `text`, or with the character that has no piece.
    pub fn merge(&mut self, text: &str, mut emit: impl FnMut(&str, Option<Piece>)) {
        self.start(text);
        while let Some(pair) = self.pairs.pop() {
            if self.is_current(&pair) {
                self.join(text, &pair);
            }
        }
        let mut at = 0;
        while let Some(symbol) = self.symbols.get(at) {
            self.emit(&text[symbol.start..symbol.end], &mut emit);
            at = symbol.next;
        }
    }

    /// One symbol for each character, one candidate for each pair that forms a piece.
    fn start(&mut self, text: &str) {
        self.symbols.clear();
        self.splits.clear();
        self.symbols
            .extend(text.char_indices().enumerate().map(|(i, (start, c))| Symbol {
                start,
                end: start + c.len_utf8(),
                previous: i.checked_sub(1).unwrap_or(NONE),
                next: i + 1,
            }));
        for right in 1..self.symbols.len() {
            self.consider(text, right - 1, right);
        }
    }

    /// Makes the neighbours `left` and `right` a candidate if they form a piece.
    fn consider(&mut self, text: &str, left: usize, right: usize) {
        let (Some(l), Some(r)) = (self.symbols.get(left), self.symbols.get(right)) else {
            return;
        };
        let joined = &text[l.start..r.end];
        let Some(piece) = self.pieces.get(joined) else {
            return;
        };
        if piece.unused {
            self.splits.insert(joined.into(), l.len());
        }
        self.pairs.push(Pair {
            score: piece.score,
            left,
            right,
            len: joined.len(),
        });
    }

    /// Whether both symbols are still as they were when the pair became a candidate.
    fn is_current(&self, pair: &Pair) -> bool {
        let (left, right) = (self.symbols[pair.left].len(), self.symbols[pair.right].len());
        left > 0 && right > 0 && left + right == pair.len
    }

    fn join(&mut self, text: &str, pair: &Pair) {
        let right = &mut self.symbols[pair.right];
        let (end, next) = (right.end, right.next);
        right.start = end;
        let left = &mut self.symbols[pair.left];
        (left.end, left.next) = (end, next);
        let previous = left.previous;
        if let Some(following) = self.symbols.get_mut(next) {
            following.previous = pair.left;
        }
        self.consider(text, previous, pair.left);
        self.consider(text, pair.left, next);
    }

    /// Emits one symbol, taken apart as far as its pieces are unused.
    fn emit(&self, text: &str, emit: &mut impl FnMut(&str, Option<Piece>)) {
        if self.splits.is_empty() {
            return emit(text, self.pieces.get(text));
        }
        let mut rest = vec![text];
        while let Some(text) = rest.pop() {
            let piece = self.pieces.get(text);
            match self.splits.get(text) {
                Some(&left) if piece.is_some_and(|p| p.unused) => {
                    rest.extend([&text[left..], &text[..left]]);
                }
                _ => emit(text, piece),
            }
        }
    }
}
