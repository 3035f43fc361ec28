//! The tokens that are still possible.

use super::SamplerError;

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its logit, finite.
    pub logit: f32,
}

impl Candidate {
    /// Orders candidates: the higher logit first, of equal logits the lower id.
    fn rank(&self) -> u64 {
        // Adding zero turns -0 into 0. Then flipping all bits but the sign of negative numbers, and
        // the sign, makes bits grow with the number; inverted, they fall.
        let bits = (self.logit + 0.0).to_bits();
        let growing = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        u64::from(!growing) << 32 | u64::from(self.id)
    }
}

/// In which order the candidates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    ById,
    ByRank,
    Unknown,
}

/// The tokens that are still possible, with their logits: what filters work on.
///
/// There is always at least one. *Rank* means the higher logit first and, of equal logits, the
/// lower id.
#[derive(Debug, Clone)]
pub struct Candidates {
    list: Vec<Candidate>,
    order: Order,
    weights: Vec<f64>,
}

impl Candidates {
    /// No candidates yet, and no memory.
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            order: Order::ById,
            weights: Vec::new(),
        }
    }

    /// Starts anew with the tokens that `allowed` lets through, but those of logit negative
    /// infinity.
    pub(super) fn fill(
        &mut self,
        logits: &[f32],
        allowed: impl Fn(u32) -> bool,
    ) -> Result<(), SamplerError> {
        self.list.clear();
        self.list.reserve(logits.len());
        self.weights
            .reserve(logits.len().saturating_sub(self.weights.len()));
        self.order = Order::ById;
        for (token, &logit) in logits.iter().enumerate() {
            if logit.is_nan() || logit == f32::INFINITY {
                return Err(SamplerError::Logit {
                    token,
                    found: logit.to_string(),
                });
            }
            if logit != f32::NEG_INFINITY && allowed(token as u32) {
                self.list.push(Candidate {
                    id: token as u32,
                    logit,
                });
            }
        }
        if self.list.is_empty() {
            return Err(SamplerError::NoCandidate {
                tokens: logits.len(),
            });
        }
        Ok(())
    }

    /// The candidates, in no particular order.
    pub fn as_slice(&self) -> &[Candidate] {
        &self.list
    }

    /// The first in rank.
    ///
    /// # Panics
    /// When there are no candidates; a filter must leave at least one.
    pub fn best(&self) -> Candidate {
        let best = self.list.iter().min_by_key(|c| c.rank());
        *best.expect("there is at least one candidate")
    }

    /// Replaces each logit by `f` of it, kept finite.
    pub fn map(&mut self, f: impl Fn(f32) -> f32) {
        for c in &mut self.list {
            c.logit = finite(f(c.logit));
        }
        self.forget_rank();
    }

    /// Replaces the logit of each candidate of `listed`, whose ids ascend, by `f` of it and of what
    /// is listed with it, kept finite.
    pub fn change(&mut self, listed: &[(u32, f32)], f: impl Fn(f32, f32) -> f32) {
        let change = |c: &mut Candidate, with: f32| c.logit = finite(f(c.logit, with));
        if self.order == Order::ById {
            for &(id, with) in listed {
                if let Ok(at) = self.list.binary_search_by_key(&id, |c| c.id) {
                    change(&mut self.list[at], with);
                }
            }
        } else {
            for c in &mut self.list {
                if let Ok(at) = listed.binary_search_by_key(&c.id, |l| l.0) {
                    change(c, listed[at].1);
                }
            }
        }
        self.forget_rank();
    }

    /// Keeps the first `n` in rank, and at least one. Takes time linear in the number of
    /// candidates.
    pub fn keep_best(&mut self, n: usize) {
        let n = n.max(1);
        if n >= self.list.len() {
            return;
        }
        if self.order != Order::ByRank {
            self.list.select_nth_unstable_by_key(n - 1, Candidate::rank);
            self.order = Order::Unknown;
        }
        self.list.truncate(n);
    }

    /// Keeps the best, and those others for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(Candidate) -> bool) {
        let best = self.best();
        self.list.retain(|&c| c.id == best.id || keep(c));
    }

    /// Takes the first `n` in rank away, but not the last one of all.
    pub fn leave_out_best(&mut self, n: usize) {
        self.sort();
        self.list.drain(..n.min(self.list.len() - 1));
    }

    /// Puts the candidates in order of rank; [`as_slice`](Self::as_slice) then gives them so.
    pub fn sort(&mut self) {
        if self.order != Order::ByRank {
            self.list.sort_unstable_by_key(Candidate::rank);
            self.order = Order::ByRank;
        }
    }

    /// The candidates by rank, and for each `exp(logit - best)`: its probability but for a common
    /// factor.
    pub fn weights(&mut self) -> (&[Candidate], &[f64]) {
        self.sort();
        let best = f64::from(self.list[0].logit);
        self.weights.clear();
        self.weights
            .extend(self.list.iter().map(|c| libm::exp(f64::from(c.logit) - best)));
        (&self.list, &self.weights)
    }

    fn forget_rank(&mut self) {
        if self.order == Order::ByRank {
            self.order = Order::Unknown;
        }
    }
}

/// Numbers too large for f32, from extreme options, become the largest there are.
fn finite(x: f32) -> f32 {
    x.clamp(f32::MIN, f32::MAX)
}
