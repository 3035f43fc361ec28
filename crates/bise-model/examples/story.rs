//! Tells a story: `cargo run --release --example story -- model.gguf "Once upon a time"`.

use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::tokenizer::{Detokenizer, Tokenizer, Vocabulary};
use bise_model::{
    Context, ContextOptions, Limits, Model, Session, Speculation, SpeculationOptions,
};
use std::io::{Write, stdout};
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: story MODEL [PROMPT]")?;
    let prompt = arguments.next().unwrap_or_else(|| "Once upon a time".into());
    let model = Model::open(path.as_ref())?;
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata())?)?;
    let mut session = Session::new(Context::new(&model, ContextOptions::new(1024))?);
    session.speculate(Some(Speculation::new(SpeculationOptions::default())));
    let mut sampler = Sampler::new(SamplerOptions::default())?;

    print!("{prompt}");
    let limits = Limits {
        max_tokens: 200,
        end: tokenizer.ends(),
    };
    let mut text = Detokenizer::continuing(&tokenizer);
    let tokens = tokenizer.encode_prompt(prompt.as_bytes());
    session.generate(&tokens, limits, &mut sampler, |token| {
        print!("{}", text.push(token));
        let flushed = stdout().flush();
        flushed.map_or(ControlFlow::Break(()), ControlFlow::Continue)
    })?;
    println!("{}", text.finish());
    Ok(())
}
