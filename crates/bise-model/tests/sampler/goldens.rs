//! fixtures/sampler/goldens.json, written by tools/fixtures/sampler_goldens.py.

use std::path::Path;

use bise_model::sampler::{Random, Sampler, SamplerKind, SamplerOptions, Stream};
use serde::Deserialize;

use super::kept;

#[derive(Deserialize)]
struct Goldens {
    logits: Vec<Vec<f32>>,
    history: Vec<u32>,
    cases: Vec<Case>,
    randoms: Vec<Randoms>,
}

#[derive(Deserialize)]
struct Randoms {
    seed: u64,
    stream: u64,
    /// Of 53 bits.
    numbers: Vec<u64>,
}

#[derive(Deserialize)]
struct Case {
    options: Options,
    logits: usize,
    /// Ids and logits.
    kept: Vec<(u32, f32)>,
    seed: u64,
    drawn: Vec<u32>,
}

#[derive(Debug, Deserialize)]
struct Options {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    typical: f32,
    repeat_penalty: f32,
}

/// The order of generate().
const TRANSFORMERS_ORDER: &str = "penalties;temperature;top-k;top-p;min-p;typical";

fn goldens() -> Goldens {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sampler/goldens.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Case {
    fn options(&self) -> SamplerOptions {
        let Options {
            temperature,
            top_k,
            top_p,
            min_p,
            typical,
            repeat_penalty,
        } = self.options;
        let seed = Some(self.seed);
        SamplerOptions {
            temperature,
            top_k,
            top_p,
            min_p,
            typical,
            repeat_penalty,
            seed,
            samplers: SamplerKind::parse_list(TRANSFORMERS_ORDER).unwrap(),
            ..SamplerOptions::default()
        }
    }
}

#[test]
fn filters_equal_transformers() {
    let goldens = goldens();
    for case in &goldens.cases {
        let mut found = kept(case.options(), &goldens.logits[case.logits], &goldens.history);
        found.sort_by_key(|c| c.id);
        let ids: Vec<_> = found.iter().map(|c| c.id).collect();
        let expected: Vec<_> = case.kept.iter().map(|k| k.0).collect();
        assert_eq!(ids, expected, "{:?}", case.options);
        for (candidate, (id, logit)) in found.iter().zip(&case.kept) {
            // Penalty and temperature: two operations here, each rounded to half an ulp, and there
            // up to four, as torch may multiply by a rounded reciprocal.
            let bound = 3.0 * f32::EPSILON * logit.abs();
            let error = (candidate.logit - logit).abs();
            assert!(
                error <= bound,
                "{:?}: token {id} is off by {error:e}, bound {bound:e}",
                case.options
            );
        }
    }
}

#[test]
fn draws_equal_the_description() {
    let goldens = goldens();
    for case in &goldens.cases {
        let mut sampler = Sampler::new(case.options()).unwrap();
        assert_eq!(sampler.seed(), case.seed);
        let logits = &goldens.logits[case.logits];
        let draw = |_| sampler.sample(logits, &goldens.history).unwrap();
        let drawn: Vec<_> = (0..case.drawn.len()).map(draw).collect();
        assert_eq!(drawn, case.drawn, "{:?}", case.options);
    }
}

#[test]
fn random_numbers_are_those_of_chacha() {
    for Randoms {
        seed,
        stream,
        numbers,
    } in goldens().randoms
    {
        let stream = if stream == 0 { Stream::Draw } else { Stream::Xtc };
        for (draw, &number) in numbers.iter().enumerate().rev() {
            let random = Random {
                seed,
                draw: draw as u64,
            };
            assert_eq!(
                random.uniform(stream) * 2f64.powi(53),
                number as f64,
                "seed {seed}, {stream:?}, {draw}"
            );
        }
    }
}
