//! How long tests take.

use super::measured::{Measured, Roofline, Size, Spent, Work};
use anyhow::Result;
use bise_kernels::isa::Level;
use bise_kernels::measure;
use bise_kernels::ops::CHUNK;
use bise_model::{Context, ContextOptions, KvType, Model};
use std::ops::Range;
use std::time::Instant;

/// What a test does with its tokens.
#[derive(Clone, Copy)]
pub enum Kind {
    Prompt,
    Generate,
}

/// A number of tokens, after others.
#[derive(Clone, Copy)]
pub struct Test {
    pub kind: Kind,
    pub tokens: usize,
    pub depth: usize,
}

impl Test {
    fn name(self) -> String {
        let kind = match self.kind {
            Kind::Prompt => "pp",
            Kind::Generate => "tg",
        };
        let depth = if self.depth > 0 {
            format!("@d{}", self.depth)
        } else {
            String::new()
        };
        format!("{kind}{}{depth}", self.tokens)
    }
}

/// What all tests have in common.
pub struct Bench<'a> {
    pub model: &'a Model,
    pub name: &'a str,
    pub level: Level,
    pub roofline: Roofline,
    /// Format of cached keys and values.
    pub kv: KvType,
    pub repetitions: u32,
}

impl Bench<'_> {
    /// Runs the start of a test to warm up, then the test as often as asked.
    pub fn measure(&self, test: Test) -> Result<Measured> {
        let options = ContextOptions {
            kv: self.kv,
            level: self.level,
            ..ContextOptions::new(test.depth + test.tokens)
        };
        let token = |i: usize| (i * 7919 % self.model.vocabulary_size()) as u32;
        let tokens: Vec<u32> = (0..test.depth + test.tokens).map(token).collect();
        let (before, tested) = tokens.split_at(test.depth);
        let step = match test.kind {
            Kind::Prompt => test.tokens,
            Kind::Generate => 1,
        };
        let mut context = Context::new(self.model, options)?;
        context.forward(before)?;
        context.forward(&tested[..step.min(options.prefill_chunk)])?;
        let mut samples = Vec::new();
        for _ in 0..self.repetitions {
            if !context.truncate(test.depth) {
                context.clear();
                context.forward(before)?;
            }
            let start = Instant::now();
            for part in tested.chunks(step) {
                context.forward(part)?;
            }
            samples.push(test.tokens as f64 / start.elapsed().as_secs_f64());
        }
        let spent = match test.kind {
            Kind::Prompt => Spent::Operations(test.tokens),
            Kind::Generate => Spent::Bytes(self.cached(test.depth..test.depth + test.tokens)),
        };
        Ok(self.measured(test.name(), spent, samples))
    }

    /// Bytes of keys and values that the tokens at `positions` read, on an average.
    pub fn cached(&self, positions: Range<usize>) -> f64 {
        let config = self.model.config();
        let chunk = config.n_kv_heads * self.kv.chunk_bytes(config.head_dim);
        let of_layer = |window: Option<usize>| -> f64 {
            let window = window.unwrap_or(usize::MAX);
            positions.clone().map(|p| (p + 1).min(window) as f64).sum()
        };
        let seen: f64 = config.layers.iter().map(|layer| of_layer(layer.window)).sum();
        chunk as f64 / CHUNK as f64 * seen / positions.len() as f64
    }

    /// The result of a test.
    pub fn measured(&self, test: String, spent: Spent, samples: Vec<f64>) -> Measured {
        let mut roofline = self.roofline;
        if let Spent::Bytes(_) = spent {
            // How much memory gives can change from minute to minute, where machines share it.
            let now = measure::read_bandwidth(self.level, roofline.threads);
            roofline.bytes = roofline.bytes.max(now);
        }
        Measured {
            model: self.name.to_owned(),
            size: Size::of(self.model),
            level: self.level,
            roofline,
            test,
            spent,
            work: Work::of_a_token(self.model),
            samples,
        }
    }
}
