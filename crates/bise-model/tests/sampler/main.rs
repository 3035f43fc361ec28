//! The sampler against transformers' logits processors, and its laws.

mod goldens;
mod laws;

use bise_model::sampler::{Candidate, Sampler, SamplerOptions};

/// Options that change nothing.
fn off() -> SamplerOptions {
    SamplerOptions {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: Some(1),
        ..Default::default()
    }
}

/// The candidates that `options` leave of `logits`, best first.
fn kept(options: SamplerOptions, logits: &[f32], history: &[u32]) -> Vec<Candidate> {
    let mut sampler = Sampler::new(options).unwrap();
    sampler.sample(logits, history).unwrap();
    sampler.candidates().to_vec()
}
