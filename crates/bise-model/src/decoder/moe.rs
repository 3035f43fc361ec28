//! The sparse mixture of experts (Mixtral, section 2.1):
//!
//! ```text
//! y = sum over e of softmax(TopK(x router))[e] * SwiGLU_e(x)
//! ```

use super::buffer::first;
use super::held::Held;
use super::linear::{self, Linear};
use super::step::{See, Step};
use super::swiglu::{self, SwiGlu};
use crate::config::{Config, Experts as Mixture};
use crate::error::LoadError;
use bise_kernels::isa::Level;
use bise_kernels::matmul::Activations;
use bise_kernels::ops::{add_scaled, exp};
use bise_kernels::threads::for_each_piece;

/// The experts of one block.
pub(crate) struct SparseMoe {
    /// `[experts, dim]`
    pub router: Linear,
    pub experts: Box<dyn Experts>,
    pub top_k: usize,
}

/// Where a block's experts are.
pub(crate) trait Experts: Send + Sync {
    /// Expert `e`.
    ///
    /// # Errors
    /// When it is not in memory and cannot be brought there.
    fn get(&self, e: usize) -> Result<Held<'_, SwiGlu>, LoadError>;
}

impl Experts for Vec<SwiGlu> {
    fn get(&self, e: usize) -> Result<Held<'_, SwiGlu>, LoadError> {
        Ok(Held::Resident(&self[e]))
    }
}

/// What the mixture works in.
pub(crate) struct Workspace {
    level: Level,
    /// `[n, experts]`: the router's logits.
    logits: Vec<f32>,
    /// `[n, experts]`: the weight of each expert; 0 where it is not chosen.
    weights: Vec<f32>,
    /// The rows of one expert.
    rows: Vec<u32>,
    /// Their inputs, `[rows, dim]`.
    inputs: Activations,
    /// Their outputs, `[rows, dim]`.
    outputs: Vec<f32>,
    expert: swiglu::Workspace,
    /// Of the router.
    updates: linear::Workspace,
}

impl Workspace {
    /// For `rows` rows, and adapters of up to `rank`.
    pub fn new(level: Level, config: &Config, mixture: Mixture, rows: usize, rank: usize) -> Self {
        Self {
            level,
            logits: vec![0.0; rows * mixture.count],
            weights: vec![0.0; rows * mixture.count],
            rows: Vec::with_capacity(rows),
            inputs: Activations::with_capacity(level, rows, config.dim),
            outputs: vec![0.0; rows * config.dim],
            expert: swiglu::Workspace::new(level, config, rows, rank),
            updates: linear::Workspace::new(level, rows, mixture.count, rank),
        }
    }
}

impl SparseMoe {
    /// Sends each row of `x`, `[n, dim]`, through its `top_k` experts, expert by expert in
    /// ascending order: one product serves all rows of an expert. `out`, as large, becomes the
    /// sums.
    ///
    /// # Errors
    /// When an expert cannot be brought into memory.
    pub fn forward(
        &self,
        x: &mut Activations,
        ws: &mut Workspace,
        see: See<'_>,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        let (n, experts) = (x.len(), self.router.outputs());
        let logits = first(&mut ws.logits, n * experts);
        let weights = first(&mut ws.weights, n * experts);
        self.router.forward(x, &mut ws.updates, logits);
        see(Step::Router, logits);
        for (logits, weights) in logits
            .chunks_exact(experts)
            .zip(weights.chunks_exact_mut(experts))
        {
            route(logits, self.top_k, weights);
        }
        out.fill(0.0);
        for e in 0..experts {
            self.run_expert(e, x, ws, see, out)?;
        }
        Ok(())
    }

    /// Sends the rows of expert `e` through it, and adds what comes out to the sums.
    fn run_expert(
        &self,
        e: usize,
        x: &Activations,
        ws: &mut Workspace,
        see: See<'_>,
        sums: &mut [f32],
    ) -> Result<(), LoadError> {
        let (n, dim, experts) = (x.len(), x.width(), self.router.outputs());
        let (level, weights) = (ws.level, &ws.weights[..n * experts]);
        ws.rows.clear();
        ws.rows
            .extend((0..n as u32).filter(|&row| weights[row as usize * experts + e] != 0.0));
        if ws.rows.is_empty() {
            return Ok(());
        }
        let expert = self.experts.get(e)?;
        ws.inputs.gather(x, &ws.rows);
        let outputs = first(&mut ws.outputs, ws.rows.len() * dim);
        expert.forward(e, &mut ws.inputs, &mut ws.expert, see, outputs);
        let (rows, outputs) = (&ws.rows, &*outputs);
        for_each_piece(sums, dim, |row, sum| {
            if let Ok(i) = rows.binary_search(&(row as u32)) {
                let weight = weights[row * experts + e];
                add_scaled(level, weight, &outputs[i * dim..][..dim], sum);
            }
        });
        Ok(())
    }
}

/// Softmax over the `top_k` largest logits, 0 elsewhere; of equal logits the lower expert comes
/// first. When a logit is infinite or NaN, nobody can choose: all weights are NaN.
fn route(logits: &[f32], top_k: usize, weights: &mut [f32]) {
    if !logits.iter().all(|l| l.is_finite()) {
        return weights.fill(f32::NAN);
    }
    weights.fill(0.0);
    let ahead = |e: usize| {
        let beats = |(i, l): (usize, &f32)| *l > logits[e] || (*l == logits[e] && i < e);
        logits.iter().enumerate().filter(|&other| beats(other)).count()
    };
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for e in 0..logits.len() {
        if ahead(e) < top_k {
            weights[e] = exp(logits[e] - max);
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
