//! The embedding of a text: hidden states after the last norm, pooled.

use crate::request::{Embed, Failure, Pooling};
use bise_model::{Engine, ForwardError, LogitRows, Part, Sequence};
use std::ops::ControlFlow;
use tokio::sync::oneshot;

/// A text that is being read for its embedding.
pub struct Embedding {
    request: Embed,
    result: oneshot::Sender<Result<Vec<f32>, Failure>>,
    sequence: Sequence,
    /// Of what was read: the last state, the first, or the sum.
    pooled: Vec<f64>,
}

impl Embedding {
    /// Nothing of it is read.
    pub fn new(
        request: Embed,
        result: oneshot::Sender<Result<Vec<f32>, Failure>>,
        engine: &Engine,
    ) -> Self {
        Self {
            sequence: engine.sequence(request.tokens.len()),
            request,
            result,
            pooled: Vec::new(),
        }
    }

    /// Whether nobody waits for it any more.
    pub fn is_abandoned(&self) -> bool {
        self.result.is_closed()
    }

    /// Tokens that have not been read.
    pub fn left(&self) -> usize {
        self.request.tokens.len() - self.sequence.len()
    }

    /// Reads up to `rows` tokens more.
    pub fn read(&mut self, engine: &mut Engine, rows: usize) -> Result<(), ForwardError> {
        let (first, rows) = (self.sequence.len(), rows.min(self.left()));
        let tokens = &self.request.tokens[first..first + rows];
        let wanted = match self.request.pooling {
            Pooling::Mean | Pooling::Cls => LogitRows::All,
            Pooling::Last => LogitRows::Last,
        };
        let (pooling, pooled) = (self.request.pooling, &mut self.pooled);
        let mut batch = [Part::new(&mut self.sequence, tokens, wanted)];
        let mut go_on = |_| ControlFlow::Continue(());
        engine.hidden_states(&mut batch, &mut go_on, |_, state| {
            let state = state.iter().map(|&x| f64::from(x));
            match pooling {
                Pooling::Cls if !pooled.is_empty() => {}
                Pooling::Mean if !pooled.is_empty() => {
                    pooled.iter_mut().zip(state).for_each(|(sum, x)| *sum += x);
                }
                _ => {
                    pooled.clear();
                    pooled.extend(state);
                }
            }
        })
    }

    /// Hands out what was asked for, or why there is none.
    pub fn finish(self, problem: Option<String>) {
        let tokens = match self.request.pooling {
            Pooling::Mean => self.request.tokens.len() as f64,
            Pooling::Last | Pooling::Cls => 1.0,
        };
        let mean = self.pooled.iter().map(|sum| (sum / tokens) as f32);
        // Whoever asked may be gone.
        let _ = self.result.send(match problem {
            Some(problem) => Err(Failure(problem)),
            None => Ok(mean.collect()),
        });
    }
}
