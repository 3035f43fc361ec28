//! The sparse mixture of experts (Mixtral, section 2.1):
//!
//! ```text
//! y = sum over e of softmax(TopK(x gate))[e] * SwiGLU_e(x)
//! ```

use crate::context::Scratch;
use crate::feed_forward::SwiGlu;
use crate::inputs::Place;
use crate::linear::Linear;
use bise_tensor::matmul::Activations;
use bise_tensor::ops::{add_scaled, exp};
use bise_tensor::threads::for_each_piece;

/// The experts of one block.
pub(crate) struct SparseMoe {
    /// `[experts, dim]`
    pub gate: Linear,
    pub experts: Vec<SwiGlu>,
    pub top_k: usize,
}

/// What the mixture works in.
pub(crate) struct Routing {
    /// `[n, experts]`: the router's logits.
    pub logits: Vec<f32>,
    /// `[n, experts]`: the weight of each expert; 0 where it is not chosen.
    pub weights: Vec<f32>,
    /// The tokens of one expert.
    pub tokens: Vec<u32>,
    /// Their inputs.
    pub inputs: Activations,
    /// Their outputs.
    pub outputs: Vec<f32>,
}

impl SparseMoe {
    /// Sends each token of `s.input` through its `top_k` experts, expert by expert in ascending order: one product
    /// serves all tokens of an expert. `s.delta` takes the sums.
    pub fn forward(&self, s: &mut Scratch) {
        self.route(s);
        for (e, expert) in self.experts.iter().enumerate() {
            self.send(e, expert, s);
        }
    }

    /// Chooses the experts of each token, and clears the sums.
    pub fn route(&self, s: &mut Scratch) {
        let (n, dim, experts) = (s.input.len(), s.input.width(), self.gate.0.rows());
        let Routing { logits, weights, .. } = &mut s.routing;
        let (logits, weights) = (&mut logits[..n * experts], &mut weights[..n * experts]);
        self.gate.forward(&mut s.input, logits);
        for (logits, weights) in logits
            .chunks_exact(experts)
            .zip(weights.chunks_exact_mut(experts))
        {
            route(logits, self.top_k, weights);
        }
        s.delta[..n * dim].fill(0.0);
    }

    /// Sends the tokens of expert `e` through it, and adds what comes out to the sums.
    pub fn send(&self, e: usize, expert: &SwiGlu, s: &mut Scratch) {
        let (n, dim, experts) = (s.input.len(), s.input.width(), self.gate.0.rows());
        let Routing {
            weights,
            tokens,
            inputs,
            outputs,
            ..
        } = &mut s.routing;
        tokens.clear();
        tokens.extend((0..n as u32).filter(|&t| weights[t as usize * experts + e] != 0.0));
        if tokens.is_empty() {
            return;
        }
        inputs.gather(&s.input, tokens);
        let outputs = &mut outputs[..tokens.len() * dim];
        expert.forward(s.level, inputs, &mut s.hidden, outputs);
        if let Some(sums) = &mut s.inputs {
            sums.add(Place::FeedForward(e), inputs.values());
            sums.add(Place::Hidden(e), s.hidden.activations.values());
        }
        let (level, tokens, outputs) = (s.level, &*tokens, &*outputs);
        for_each_piece(&mut s.delta[..n * dim], dim, |t, delta| {
            if let Ok(i) = tokens.binary_search(&(t as u32)) {
                let weight = weights[t * experts + e];
                add_scaled(level, weight, &outputs[i * dim..][..dim], delta);
            }
        });
    }
}

/// Softmax over the `top_k` largest logits, 0 elsewhere; of equal logits the lower expert comes first. When a logit is infinite
/// or NaN, nobody can choose: all weights are NaN.
fn route(logits: &[f32], top_k: usize, weights: &mut [f32]) {
    if !logits.iter().all(|l| l.is_finite()) {
        return weights.fill(f32::NAN);
    }
    weights.fill(0.0);
    let ahead = |e: usize| {
        let beats = |(i, l): (usize, &f32)| *l > logits[e] || (*l == logits[e] && i < e);
        logits.iter().enumerate().filter(|&other| beats(other)).count()
    };
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for e in 0..logits.len() {
        if ahead(e) < top_k {
            weights[e] = exp(logits[e] - most);
            total += weights[e];
        }
    }
    weights.iter_mut().for_each(|w| *w /= total);
}

#[cfg(test)]
mod tests {
    use super::route;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_chosen_and_weigh_one(logits in proptest::collection::vec(-20f32..20.0, 1..12), k in 1usize..12) {
            let k = k.min(logits.len());
            let mut weights = vec![9.0; logits.len()];
            route(&logits, k, &mut weights);
            let mut sorted = logits.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let total: f64 = sorted[..k].iter().map(|&l| f64::from(l - sorted[0]).exp()).sum();
            for (l, w) in logits.iter().zip(&weights) {
                let exact = if *l >= sorted[k - 1] { f64::from(l - sorted[0]).exp() / total } else { 0.0 };
                // exp and k additions and a division, each within two units in the last place
                prop_assert!((f64::from(*w) - exact).abs() <= (k as f64 + 4.0) * f64::from(f32::EPSILON));
            }
        }
    }

    #[test]
    fn ties_go_to_the_lower_expert() {
        let mut weights = [0.0; 4];
        route(&[1.0, 2.0, 2.0, 2.0], 2, &mut weights);
        assert_eq!(weights, [0.0, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn what_is_no_number_chooses_nobody() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut weights = [0.0; 3];
            route(&[1.0, bad, 2.0], 1, &mut weights);
            assert!(weights.iter().all(|w| w.is_nan()), "{bad}");
        }
    }
}
