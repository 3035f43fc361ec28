//! Only candidates about as surprising as expected.

use super::{Candidates, Filter, Step};

/// Keeps the fewest candidates whose probabilities add up to `p` or more, those first whose
/// surprise `-ln(probability)` lies closest to the expected surprise, the entropy: locally typical
/// sampling (arXiv 2202.00666). At least one stays.
#[derive(Debug, Clone, Copy)]
pub struct Typical(pub f32);

impl Filter for Typical {
    fn apply(&mut self, candidates: &mut Candidates, _: &Step<'_>) {
        let (list, weights) = candidates.weights();
        let best = f64::from(list[0].logit);
        let sum: f64 = weights.iter().sum();
        // Surprise less ln(sum), for each candidate and as expected.
        let surprise = |i: usize| best - f64::from(list[i].logit);
        let products = weights.iter().enumerate().map(|(i, weight)| weight * surprise(i));
        let expected = products.sum::<f64>() / sum;
        let deviation = |i: usize| (surprise(i) - expected).abs();
        // Surprise ascends with rank, so that what is closest to the entropy is a run of ranks,
        // which grows on the side that is closer.
        let mut start = (0..list.len()).position(|i| surprise(i) >= expected).unwrap_or(0);
        let mut end = start;
        let (mut mass, target) = (0.0, f64::from(self.0) * sum);
        while end - start < list.len() && (end == start || mass < target) {
            let lower = start > 0 && (end == list.len() || deviation(start - 1) <= deviation(end));
            let taken = if lower { start - 1 } else { end };
            mass += weights[taken];
            (start, end) = (start.min(taken), end.max(taken + 1));
        }
        candidates.leave_out_best(start);
        candidates.keep_best(end - start);
    }
}
