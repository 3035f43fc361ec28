//! Agreement with Hugging Face transformers, through the quantizer, on trained and on random
//! models.

mod common;

use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use bise_model::{Config, Context, ContextOptions, KvType, Limits, Model, Session};
use common::{Golden, bits, fixture, logits, model};
use serde::Deserialize;
use std::ops::ControlFlow;

/// How far f32 logits of two programs may lie apart, relative to the largest.
///
/// Each program sums products in an order of its own. A sum of `n` rounded products is off by about
/// `sqrt(n) eps / 2` relative to its terms, twice that between two programs. A residual stream adds
/// two such sums a layer, each behind a norm and a matrix; attention's exponentials and the last
/// matrix add one each. Softmax and SwiGLU at most double what comes in. All together, with `n` the
/// longest sum of the model:
fn bound(config: &Config) -> f64 {
    let longest = config
        .dim
        .max(config.hidden_dim)
        .max(config.n_heads * config.head_dim) as f64;
    let sums = 4.0 * config.layers.len() as f64 + 2.0;
    2.0 * sums * longest.sqrt() * f64::from(f32::EPSILON)
}

fn check(directory: &str, golden: &str) {
    let (model, golden) = (model(directory, "F32"), Golden::read(golden));
    let config = model.config();
    if let Some(window) = config.windows().max() {
        assert!(
            golden.tokens.len() > 2 * window + 1,
            "{directory}: the golden must pass the window twice"
        );
    }
    let options = ContextOptions {
        kv: KvType::F32,
        ..ContextOptions::new(golden.tokens.len())
    };
    let got = logits(&model, &golden.tokens, options);
    assert_eq!(got.len(), golden.logits.len());
    let largest = golden.logits.iter().fold(0f32, |m, l| m.max(l.abs()));
    let bound = bound(config);
    assert!(bound < 1e-4, "{directory}: the bound {bound} says too little");
    for (i, (got, expected)) in got.iter().zip(&golden.logits).enumerate() {
        let error = f64::from((got - expected).abs() / largest);
        let (position, token) = (i / model.vocabulary_size(), i % model.vocabulary_size());
        assert!(
            error <= bound,
            "{directory}: position {position}, token {token}: {got} against {expected}, {error:e} over {bound:e}"
        );
    }
}

#[test]
fn random_models_of_every_shape() {
    let mut count = 0;
    for entry in std::fs::read_dir(fixture("random")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        check(&format!("random/{name}"), &format!("random/{name}.safetensors"));
        count += 1;
    }
    assert!(count >= 13, "only {count} random models");
}

/// What transformers 5 writes otherwise than 4: fused experts, one expert, a head of its own beside
/// tied embeddings, layer types, and numbers left out.
#[test]
fn checkpoints_of_transformers_5() {
    let mut count = 0;
    for entry in std::fs::read_dir(fixture("checkpoints")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        check(
            &format!("checkpoints/{name}"),
            &format!("checkpoints/{name}.safetensors"),
        );
        count += 1;
    }
    assert!(count >= 6, "only {count} checkpoints");
}

/// Every dense Mistral since Ministral 8B, from each layout, through a GGUF file and straight from its
/// directory.
#[test]
fn the_family_from_every_layout() {
    let mut count = 0;
    for entry in std::fs::read_dir(fixture("family")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let directory = format!("family/{name}");
        check(&directory, &format!("family/{name}.safetensors"));
        let (checkpoint, _) = bise_format::open(&fixture(&directory)).unwrap();
        let straight = Model::from_checkpoint(checkpoint).unwrap();
        let tokens = Golden::read(&format!("family/{name}.safetensors")).tokens;
        let options = ContextOptions::new(tokens.len());
        assert_eq!(
            bits(&logits(&straight, &tokens, options)),
            bits(&logits(&model(&directory, "F32"), &tokens, options)),
            "{name}"
        );
        count += 1;
    }
    assert!(count >= 28, "only {count} checkpoints");
}

#[test]
fn tiny_mistral_past_twice_its_window() {
    check("tiny-mistral", "tiny-mistral.safetensors");
}

#[test]
fn tiny_mixtral() {
    check("tiny-mixtral", "tiny-mixtral.safetensors");
}

#[derive(Deserialize)]
struct GreedyText {
    prompt: String,
    prompt_ids: Vec<u32>,
    tokens: Vec<u32>,
}

fn check_greedy(name: &str) {
    let model: Model = model(name, "F32");
    let golden = std::fs::read(fixture("goldens").join(format!("{name}.greedy.json"))).unwrap();
    let golden: Vec<GreedyText> = serde_json::from_slice(&golden).unwrap();
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata()).unwrap()).unwrap();
    assert!(golden.len() >= 3);
    for GreedyText {
        prompt,
        prompt_ids,
        tokens,
    } in golden
    {
        assert_eq!(tokenizer.encode_prompt(prompt.as_bytes()), prompt_ids, "{prompt}");
        assert_eq!(tokens.len(), 200);
        for kv in [KvType::F32, KvType::F16] {
            let options = ContextOptions {
                kv,
                ..ContextOptions::new(512)
            };
            let mut session = Session::new(Context::new(&model, options).unwrap());
            let greedy = SamplerOptions {
                temperature: 0.0,
                repeat_penalty: 1.0,
                ..SamplerOptions::default()
            };
            let mut sampler = Sampler::new(greedy).unwrap();
            let mut got = Vec::new();
            let receive = |token| {
                got.push(token);
                ControlFlow::Continue(())
            };
            let limits = Limits {
                max_tokens: 200,
                end: &[],
            };
            session
                .generate(&prompt_ids, limits, &mut sampler, receive)
                .unwrap();
            assert_eq!(got, tokens, "{prompt}, {kv:?}");
        }
    }
}

#[test]
fn greedy_text_of_tiny_mistral() {
    check_greedy("tiny-mistral");
}

#[test]
fn greedy_text_of_tiny_mixtral() {
    check_greedy("tiny-mixtral");
}
