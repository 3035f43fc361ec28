//! Prompt lookup: text goes on as it did the last time (Saxena, "Prompt Lookup Decoding", 2023).
//!
//! The longest end of the text that occurred before says what comes next:
//!
//! ```text
//! ... [a b c] d e f ... [a b c] ?      matched 3, guesses d e f ...
//! ```
//!
//! How often a guess is right depends on how much matched. That is counted for each length, on
//! every token of the text, fed or not: a guess costs nothing but the search.

use super::plan::Plan;
use super::rate::Rate;

/// Matches this long end the search; longer ones count as this.
const LONGEST: usize = 16;

/// Shares of right guesses to begin with, by the tokens that matched, from one on.
const PRIOR: [f64; LONGEST] = [
    0.2, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.8, 0.8, 0.85, 0.85, 0.85, 0.9, 0.9, 0.9,
];

/// Drafts from what the text said before.
///
/// ```
/// use bise_model::Lookup;
///
/// let mut lookup = Lookup::new();
/// // A draft costs a twentieth of what a pass costs.
/// let drafts = lookup.draft(&[5, 6, 7, 8, 5, 6], 2, |k| Some(1.0 + 0.05 * k as f64));
/// assert_eq!(drafts, [7, 8]);
/// ```
#[derive(Debug)]
pub struct Lookup {
    rates: [Rate; LONGEST],
    /// What may come next, and how many tokens before it matched.
    guess: Vec<u32>,
    matched: usize,
    /// Guesses that came true.
    right: usize,
}

impl Default for Lookup {
    fn default() -> Self {
        Self::new()
    }
}

impl Lookup {
    /// Nothing is known of how often drafts are right.
    pub fn new() -> Self {
        Self {
            rates: PRIOR.map(Rate::new),
            guess: Vec::new(),
            matched: 0,
            right: 0,
        }
    }

    /// Up to `most` tokens after `text`, as many as pay, when `cost(k)` is the time of a pass with
    /// `k` drafts in that of one without; none while that is not known.
    pub fn draft(
        &mut self,
        text: &[u32],
        most: usize,
        cost: impl Fn(usize) -> Option<f64>,
    ) -> &[u32] {
        self.search(text, most.max(1));
        let plan = self.plan(most, false, cost);
        &self.guess[..plan.drafts]
    }

    /// How many of the guesses pay, of `most`.
    pub(super) fn plan(
        &self,
        most: usize,
        always: bool,
        cost: impl Fn(usize) -> Option<f64>,
    ) -> Plan {
        let most = most.min(self.guess.len());
        Plan::best(most, always, |i| self.likelihood(i), cost)
    }

    /// Guesses up to `most` tokens after `text`.
    pub(super) fn search(&mut self, text: &[u32], most: usize) {
        self.guess.clear();
        self.right = 0;
        let Some((end, matched)) = last_occurrence(text) else {
            return;
        };
        self.matched = matched;
        for i in end..end + most {
            // A match that overlaps the end of the text goes round.
            let token = text.get(i).copied().unwrap_or_else(|| self.guess[i - text.len()]);
            self.guess.push(token);
        }
    }

    /// The tokens guessed.
    pub(super) fn guess(&self) -> &[u32] {
        &self.guess
    }

    /// How likely guess `i` is right when all before it are.
    fn likelihood(&self, i: usize) -> f64 {
        self.rates[self.rate(i)].share()
    }

    /// The text went on with `token`.
    pub fn observe(&mut self, token: u32) {
        let Some(&guess) = self.guess.get(self.right) else {
            return;
        };
        let rate = self.rate(self.right);
        self.rates[rate].observe(guess == token);
        if guess == token {
            self.right += 1;
        } else {
            self.guess.clear();
        }
    }

    fn rate(&self, i: usize) -> usize {
        (self.matched + i).min(LONGEST) - 1
    }
}

/// Where the last, longest occurrence of the end of `text` before that end itself ends, and how
/// long it is.
fn last_occurrence(text: &[u32]) -> Option<(usize, usize)> {
    let (&last, before) = text.split_last()?;
    let mut best = None;
    for (end, _) in before
        .iter()
        .enumerate()
        .rev()
        .filter(|&(_, &token)| token == last)
    {
        let pairs = before[..end].iter().rev().zip(before.iter().rev());
        let matched = 1 + pairs.take(LONGEST - 1).take_while(|(a, b)| a == b).count();
        if best.is_none_or(|(_, longest)| matched > longest) {
            best = Some((end + 1, matched));
        }
        if matched == LONGEST {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guess(text: &[u32], most: usize) -> Vec<u32> {
        let mut lookup = Lookup::new();
        lookup.search(text, most);
        lookup.guess().to_vec()
    }

    #[test]
    fn the_longest_match_wins_and_of_equal_ones_the_last() {
        assert_eq!(guess(&[1, 2, 3, 9, 2, 3, 8, 1, 2, 3], 2), [9, 2]);
        assert_eq!(guess(&[2, 3, 9, 2, 3, 8, 2, 3], 2), [8, 2]);
        assert_eq!(guess(&[7, 7], 5), [7; 5]);
        assert_eq!(guess(&[4, 5, 4, 5], 5), [4, 5, 4, 5, 4]);
        assert!(guess(&[1, 2, 3], 4).is_empty());
        assert!(guess(&[1], 4).is_empty() && guess(&[], 4).is_empty());
    }

    #[test]
    fn rates_follow_what_comes() {
        let mut lookup = Lookup::new();
        for _ in 0..100 {
            lookup.search(&[1, 2, 3, 1, 2], 3);
            lookup.observe(3);
            lookup.observe(5); // was 1
            lookup.observe(2); // after a wrong guess there is none
        }
        assert!(lookup.likelihood(0) > 0.95);
        lookup.search(&[1, 2, 3, 1, 2], 3);
        assert!(lookup.likelihood(1) < 0.05 && lookup.likelihood(2) == PRIOR[3]);
    }

    proptest! {
        /// The match found is one, no other is longer, and none as long is later.
        #[test]
        fn the_match_is_the_last_of_the_longest(text in proptest::collection::vec(0u32..3, 0..60)) {
            let n = text.len();
            let matched = |end: usize| (0..end.min(LONGEST)).take_while(|&i| text[end - 1 - i] == text[n - 1 - i]).count();
            let ends = (1..n).filter(|&end| matched(end) > 0);
            let expected = ends.max_by_key(|&end| (matched(end), end)).map(|end| (end, matched(end)));
            prop_assert_eq!(last_occurrence(&text), expected);
        }
    }
}
