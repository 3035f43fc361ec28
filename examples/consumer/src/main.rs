//! Goes on with three texts side by side: `cargo run --release -p consumer -- MODEL`.
//!
//! It needs the libraries only, and nothing of the program: what a server does, in one loop. Each
//! line of the output is a piece of one of the texts, which is numbered, as soon as it is known.
#![forbid(unsafe_code)]

use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::tokenizer::{Detokenizer, Tokenizer, Vocabulary};
use bise_model::{Engine, EngineOptions, LogitRows, Model, Part, Sequence};
use std::error::Error;

/// A text in progress.
struct Text<'t> {
    /// The prompt, and what has been chosen.
    tokens: Vec<u32>,
    /// Those of the tokens that have been processed.
    sequence: Sequence,
    sampler: Sampler,
    words: Detokenizer<'t>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1);
    let path = path.unwrap_or_else(|| "fixtures/tiny-mistral".into());
    let (checkpoint, notes) = bise_format::open(path.as_ref())?;
    notes.iter().for_each(|note| eprintln!("{note}"));
    let model = Model::from_checkpoint(checkpoint)?;
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
    let mut engine = Engine::new(&model, EngineOptions::default());

    let mut texts = Vec::new();
    for prompt in ["Once upon a time", "The dog", "Lily was sad because"] {
        texts.push(Text {
            tokens: tokenizer.encode_prompt(prompt.as_bytes()),
            sequence: engine.sequence(128),
            sampler: Sampler::new(SamplerOptions::greedy())?,
            words: Detokenizer::continuing(&tokenizer),
        });
    }
    // The first pass processes the prompts, the others one token of each text. A text that has
    // ended has no more tokens, and no logits.
    for _ in 0..40 {
        let parts = texts.iter_mut().map(|text| {
            let new = &text.tokens[text.sequence.len()..];
            Part::new(&mut text.sequence, new, LogitRows::Last)
        });
        let logits = engine.forward(&mut parts.collect::<Vec<_>>())?;
        for (i, text) in texts
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| !logits.of(*i).is_empty())
        {
            let token = text.sampler.sample(logits.of(i), &text.tokens)?;
            if !tokenizer.ends().contains(&token) {
                text.tokens.push(token);
                println!("{i} {:?}", text.words.push(token));
            }
        }
    }
    Ok(())
}
