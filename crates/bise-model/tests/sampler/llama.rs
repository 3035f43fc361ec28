//! fixtures/sampler/llama.json, written by tools/fixtures/sampler_llama.py.

use super::kept;
use bise_format::gguf::Gguf;
use bise_model::sampler::{Breakers, DryOptions, SamplerKind, SamplerOptions};
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Goldens {
    logits: Vec<Vec<f32>>,
    history: Vec<u32>,
    cases: Vec<Case>,
    dry: Vec<DryCase>,
}

#[derive(Deserialize)]
struct Case {
    samplers: String,
    options: Options,
    logits: usize,
    /// Ids and logits.
    kept: Vec<(u32, f32)>,
}

#[derive(Debug, Deserialize)]
struct Options {
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    typical: Option<f32>,
    xtc_probability: Option<f32>,
    xtc_threshold: Option<f32>,
    repeat_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    repeat_last_n: Option<usize>,
}

#[derive(Deserialize)]
struct DryCase {
    tokens: Vec<u32>,
    multiplier: f32,
    base: f32,
    allowed_length: usize,
    last_n: usize,
    breakers: Vec<String>,
    /// What tokens lose of their logits.
    lost: Vec<(u32, f64)>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

fn goldens() -> Goldens {
    serde_json::from_slice(&std::fs::read(fixture("sampler/llama.json")).unwrap()).unwrap()
}

impl Case {
    fn options(&self) -> SamplerOptions {
        let (o, off) = (&self.options, super::off());
        SamplerOptions {
            samplers: SamplerKind::parse_list(&self.samplers).unwrap(),
            temperature: o.temperature.unwrap_or(off.temperature),
            top_k: o.top_k.unwrap_or(off.top_k),
            top_p: o.top_p.unwrap_or(off.top_p),
            min_p: o.min_p.unwrap_or(off.min_p),
            typical: o.typical.unwrap_or(off.typical),
            xtc_probability: o.xtc_probability.unwrap_or(off.xtc_probability),
            xtc_threshold: o.xtc_threshold.unwrap_or(off.xtc_threshold),
            repeat_penalty: o.repeat_penalty.unwrap_or(off.repeat_penalty),
            frequency_penalty: o.frequency_penalty.unwrap_or(off.frequency_penalty),
            presence_penalty: o.presence_penalty.unwrap_or(off.presence_penalty),
            repeat_last_n: o.repeat_last_n.unwrap_or(off.repeat_last_n),
            ..off
        }
    }
}

#[test]
fn filters_equal_llama_cpp() {
    let goldens = goldens();
    for case in &goldens.cases {
        let mut found = kept(case.options(), &goldens.logits[case.logits], &goldens.history);
        found.sort_by_key(|c| c.id);
        let ids: Vec<_> = found.iter().map(|c| c.id).collect();
        let expected: Vec<_> = case.kept.iter().map(|k| k.0).collect();
        assert_eq!(ids, expected, "{} {:?}", case.samplers, case.options);
        for (candidate, (id, logit)) in found.iter().zip(&case.kept) {
            // A handful of operations in f32, on numbers up to ten.
            let error = (candidate.logit - logit).abs();
            assert!(
                error <= 50.0 * f32::EPSILON,
                "{}: token {id} is off by {error:e}",
                case.samplers
            );
        }
    }
}

#[test]
fn dry_equals_llama_cpp() {
    let gguf = std::fs::read(fixture("demo.gguf")).unwrap();
    let metadata = Gguf::parse(&gguf).unwrap().metadata;
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(&metadata).unwrap()).unwrap();
    let vocabulary = tokenizer.vocabulary().len();
    let logits: Vec<f32> = (0..vocabulary)
        .map(|i| 3.0 - 2.0 * i as f32 / vocabulary as f32)
        .collect();
    for case in goldens().dry {
        let texts = (0..vocabulary as u32).map(|id| tokenizer.bytes(id));
        let dry = DryOptions {
            multiplier: case.multiplier,
            base: case.base,
            allowed_length: case.allowed_length,
            last_n: case.last_n,
            breakers: Breakers::new(&case.breakers, texts),
        };
        let mut found: Vec<(u32, f64)> = kept(
            SamplerOptions {
                dry,
                ..super::off()
            },
            &logits,
            &case.tokens,
        )
        .iter()
        .map(|c| (c.id, f64::from(logits[c.id as usize]) - f64::from(c.logit)))
        .filter(|&(_, lost)| lost != 0.0)
        .collect();
        found.sort_by_key(|&(id, _)| id);
        let close = found.len() == case.lost.len()
            && found
                .iter()
                .zip(&case.lost)
                .all(|(f, l)| f.0 == l.0 && (f.1 - l.1).abs() <= 1e-5 * l.1.abs().max(1.0));
        assert!(
            close,
            "{} {:?}: {found:?}, not {:?}",
            tokenizer.decode(&case.tokens),
            case.breakers,
            case.lost
        );
    }
}
