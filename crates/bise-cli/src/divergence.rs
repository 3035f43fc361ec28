//! How far two models' predictions for a text are apart.
//!
//! With `p` the source's probabilities of the next token and `q` the other's, at each position of
//! the text
//!
//! ```text
//! KL = sum over tokens of p log(p / q)       in nats; 0 when they are the same
//! ```

use crate::progress::Bar;
use crate::runtime::Chunks;
use anyhow::{Context as _, Result, ensure};
use bise_model::tokenizer::Tokenizer;
use bise_model::{Context, ContextOptions, Model};
use serde_json::{Value, json};
use std::fmt;

/// Tokens of a chunk, the one that begins it included.
const CHUNK: usize = 256;

/// Whose fault an error is.
const SOURCE: &str = "the model that is quantized";

/// What all positions of a text gave.
#[derive(Default)]
pub struct Divergence {
    /// Of each position.
    kl: Vec<f64>,
    /// Positions at which the likeliest token is the same.
    agreed: usize,
}

impl Divergence {
    /// Runs both models over `text`.
    pub fn measure(
        source: &Model,
        model: &Model,
        tokenizer: &Tokenizer,
        text: &[u8],
    ) -> Result<Self> {
        let tokens = tokenizer.encode(text);
        let rows = source.vocabulary_size();
        ensure!(
            rows == model.vocabulary_size(),
            "the two models have different vocabularies"
        );
        let options = ContextOptions::new(source.config().context_length.min(CHUNK));
        let (mut first, mut second) =
            (Context::new(source, options)?, Context::new(model, options)?);
        let chunks = Chunks::new(tokenizer, &first, Some(options.max_tokens as u32))?;
        let mut found = Self::default();
        let mut expected = Vec::with_capacity(options.max_tokens * rows);
        let bar = Bar::tokens("comparing", 2 * chunks.count(&tokens, usize::MAX));
        first.watch_progress(Some(bar.watch()));
        second.watch_progress(Some(bar.watch()));
        let mut read = 0;
        for chunk in chunks.of(&tokens) {
            bar.after(read);
            read += chunk.len();
            expected.clear();
            first.clear();
            second.clear();
            let of_source = |logits: &[f32]| expected.extend_from_slice(logits);
            first.forward_all(&chunk, of_source).context(SOURCE)?;
            bar.after(read);
            read += chunk.len();
            let mut expected = expected.chunks_exact(rows);
            let of_result = |logits: &[f32]| {
                if let Some(expected) = expected.next() {
                    found.add(expected, logits);
                }
            };
            second.forward_all(&chunk, of_result).context("the new file")?;
        }
        ensure!(!found.kl.is_empty(), "the text has no tokens to compare on");
        found.kl.sort_by(f64::total_cmp);
        Ok(found)
    }

    /// Runs the source over the beginning of `text`: whether it says anything can be known before
    /// it is quantized.
    pub fn try_source(source: &Model, tokenizer: &Tokenizer, text: &[u8]) -> Result<()> {
        let options = ContextOptions::new(source.config().context_length.min(CHUNK));
        let mut context = Context::new(source, options)?;
        let chunks = Chunks::new(tokenizer, &context, Some(options.max_tokens as u32))?;
        if let Some(chunk) = chunks.of(&tokenizer.encode(text)).next() {
            context.forward_all(&chunk, |_| {}).context(SOURCE)?;
        }
        Ok(())
    }

    fn add(&mut self, expected: &[f32], found: &[f32]) {
        let (p, q) = (log_softmax(expected), log_softmax(found));
        let kl: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
        // Rounding can make it negative. NaN stays NaN.
        self.kl.push(if kl < 0.0 { 0.0 } else { kl });
        self.agreed += usize::from(likeliest(expected) == likeliest(found));
    }

    /// The mean, in nats.
    fn mean(&self) -> f64 {
        self.kl.iter().sum::<f64>() / self.kl.len() as f64
    }

    /// What 99 of 100 positions do not exceed.
    fn percentile_99(&self) -> f64 {
        self.kl[(self.kl.len() * 99 / 100).min(self.kl.len() - 1)]
    }

    fn agreement(&self) -> f64 {
        self.agreed as f64 / self.kl.len() as f64
    }

    /// As a JSON object.
    pub fn json(&self) -> Value {
        json!({
            "tokens": self.kl.len(), "mean_kl": self.mean(), "kl_99": self.percentile_99(),
            "same_top_token": self.agreement(),
        })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "against the source over {} tokens: KL divergence {:.6} (99th percentile {:.6}), same top token {:.2} %",
            self.kl.len(),
            self.mean(),
            self.percentile_99(),
            100.0 * self.agreement()
        )
    }
}

/// Logarithms of the probabilities.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total: f64 = logits.iter().map(|&l| (f64::from(l) - most).exp()).sum();
    logits.iter().map(|&l| f64::from(l) - most - total.ln()).collect()
}

/// The likeliest token, the lower of equals.
fn likeliest(logits: &[f32]) -> usize {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, better)
}
