//! A token at random.

use super::{Candidate, Candidates};

/// Draws a candidate with its probability.
///
/// The candidates lie side by side in order of rank, each as wide as its weight; `place`, from 0 to
/// 1, says where to look.
pub(super) fn draw(candidates: &mut Candidates, place: f64) -> Candidate {
    let (list, weights) = candidates.weights();
    let target = place * weights.iter().sum::<f64>();
    let mut end = 0.0;
    let mut drawn = list[0];
    for (candidate, &weight) in list.iter().zip(weights) {
        if weight > 0.0 {
            drawn = *candidate;
        }
        end += weight;
        if end > target {
            break;
        }
    }
    drawn
}
