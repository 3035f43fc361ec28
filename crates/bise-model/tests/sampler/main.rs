//! The sampler against transformers' logits processors, and its laws.

mod dry;
mod goldens;
mod laws;
mod llama;
mod more_laws;
mod orders;
mod states;

use bise_model::sampler::{Candidate, Sampler, SamplerOptions};

/// Options that change nothing.
fn off() -> SamplerOptions {
    SamplerOptions {
        seed: Some(1),
        ..SamplerOptions::off()
    }
}

/// The candidates that `options` leave of `logits`, best first.
fn kept(options: SamplerOptions, logits: &[f32], history: &[u32]) -> Vec<Candidate> {
    let mut sampler = Sampler::new(options).unwrap();
    sampler.sample(logits, history).unwrap();
    sampler.candidates().to_vec()
}
