//! How tokens are chosen, as llama.cpp tells it.

use bise_model::sampler::{SamplerKind, SamplerOptions};
use serde::Serialize;
use utoipa::ToSchema;

/// How tokens are chosen.
#[derive(Serialize, ToSchema)]
#[schema(as = llama_cpp::Settings)]
pub struct Settings {
    seed: Option<u64>,
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    typical_p: f32,
    xtc_probability: f32,
    xtc_threshold: f32,
    repeat_last_n: i64,
    repeat_penalty: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    dry_multiplier: f32,
    dry_base: f32,
    dry_allowed_length: usize,
    dry_penalty_last_n: i64,
    /// 2 for mirostat 2.
    mirostat: u8,
    mirostat_tau: f32,
    mirostat_eta: f32,
    /// Tokens of an answer at most; -1 for as many as fit.
    n_predict: i64,
    /// The steps of a choice, in order.
    samplers: Vec<&'static str>,
}

impl Settings {
    /// What `options` say, and tokens at most.
    pub fn new(options: &SamplerOptions, most: Option<usize>) -> Self {
        let of_all = |n: usize| i64::try_from(n).unwrap_or(-1);
        let mirostat = options.samplers.contains(&SamplerKind::Mirostat);
        Self {
            seed: options.seed,
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
            min_p: options.min_p,
            typical_p: options.typical,
            xtc_probability: options.xtc_probability,
            xtc_threshold: options.xtc_threshold,
            repeat_last_n: of_all(options.repeat_last_n),
            repeat_penalty: options.repeat_penalty,
            presence_penalty: options.presence_penalty,
            frequency_penalty: options.frequency_penalty,
            dry_multiplier: options.dry.multiplier,
            dry_base: options.dry.base,
            dry_allowed_length: options.dry.allowed_length,
            dry_penalty_last_n: of_all(options.dry.last_n),
            mirostat: if mirostat { 2 } else { 0 },
            mirostat_tau: options.mirostat_target,
            mirostat_eta: options.mirostat_rate,
            n_predict: most.map_or(-1, of_all),
            samplers: options.samplers.iter().map(|kind| kind.name()).collect(),
        }
    }
}
