//! Tokens that would go on with a repetition become less likely.

use super::{Breakers, Candidates, Filter, Step};

/// How [`Dry`] penalizes.
#[derive(Debug, Clone, PartialEq)]
pub struct DryOptions {
    /// The penalty for going on with a repetition of `allowed_length`; 0 for none at all.
    pub multiplier: f32,
    /// By how much the penalty grows with each token more, at least 1.
    pub base: f32,
    /// Shorter repetitions are no repetitions; at least 1.
    pub allowed_length: usize,
    /// How many of the last tokens are searched.
    pub last_n: usize,
    /// What repetitions do not go across.
    pub breakers: Breakers,
}

impl Default for DryOptions {
    fn default() -> Self {
        Self {
            multiplier: 0.0,
            base: 1.75,
            allowed_length: 2,
            last_n: usize::MAX,
            breakers: Breakers::default(),
        }
    }
}

/// Don't Repeat Yourself: where the text ends as it ended `n` tokens long before, the token that
/// followed there loses
///
/// ```text
/// multiplier * base^(n - allowed_length)      for n at least allowed_length
/// ```
///
/// of its logit, for the longest such `n`. A breaker ends what counts as the text's end, and is
/// never penalized itself.
#[derive(Debug, Clone)]
pub struct Dry {
    options: DryOptions,
    /// `matches[i]`: how many tokens before the last `i` ones equal the last ones.
    matches: Vec<u32>,
    /// The next token of each repetition, and its length.
    next: Vec<(u32, u32)>,
    penalties: Vec<(u32, f32)>,
    window: Vec<u8>,
}

impl Dry {
    /// A filter for `options` within their ranges.
    pub fn new(options: DryOptions) -> Self {
        Self {
            options,
            matches: Vec::new(),
            next: Vec::new(),
            penalties: Vec::new(),
            window: Vec::new(),
        }
    }

    fn penalty(&self, length: u32) -> f32 {
        let more = length as f64 - self.options.allowed_length as f64;
        let penalty =
            f64::from(self.options.multiplier) * libm::pow(f64::from(self.options.base), more);
        penalty as f32
    }
}

impl Filter for Dry {
    fn apply(&mut self, candidates: &mut Candidates, step: &Step<'_>) {
        let history = &step.history[step.history.len().saturating_sub(self.options.last_n)..];
        let longest = self.options.breakers.tokens_since(history, &mut self.window);
        if longest < self.options.allowed_length {
            return;
        }
        common_suffixes(history, &mut self.matches);
        self.next.clear();
        for (i, &matched) in self.matches.iter().enumerate().skip(1) {
            let length = (matched as usize).min(longest);
            let next = history[history.len() - i];
            if length >= self.options.allowed_length && !self.options.breakers.breaks(next) {
                self.next.push((next, length as u32));
            }
        }
        self.next.sort_unstable();
        let mut penalties = std::mem::take(&mut self.penalties);
        penalties.clear();
        let longest_of_each = self
            .next
            .chunk_by(|a, b| a.0 == b.0)
            .map(|same| same[same.len() - 1]);
        penalties.extend(longest_of_each.map(|(next, length)| (next, self.penalty(length))));
        self.penalties = penalties;
        candidates.change(&self.penalties, |logit, penalty| logit - penalty);
    }
}

/// How long the common suffix is of `tokens` and of `tokens` without its last `i` ones, for every
/// `i`: the Z function of the tokens read backwards, in linear time.
fn common_suffixes(tokens: &[u32], lengths: &mut Vec<u32>) {
    let n = tokens.len();
    let back = |i: usize| tokens[n - 1 - i];
    lengths.clear();
    lengths.resize(n, 0);
    // The stretch that is known to match reaches furthest from `left` to before `right`.
    let (mut left, mut right) = (0, 0);
    for i in 1..n {
        let mut length = if i < right {
            (lengths[i - left] as usize).min(right - i)
        } else {
            0
        };
        while i + length < n && back(length) == back(i + length) {
            length += 1;
        }
        lengths[i] = length as u32;
        if i + length > right {
            (left, right) = (i, i + length);
        }
    }
}
