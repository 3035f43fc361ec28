//! What the example promises: the texts that each would be alone, and no part of the program.

use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::tokenizer::{Detokenizer, Tokenizer, Vocabulary};
use bise_model::{Context, ContextOptions, Limits, Model, Session};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn stdout(command: &mut Command) -> String {
    let output = command.current_dir(ROOT).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn texts_are_those_of_sessions_alone() {
    let printed = stdout(&mut Command::new(env!("CARGO_BIN_EXE_consumer")));
    let (checkpoint, _) =
        bise_format::open(&Path::new(ROOT).join("fixtures/tiny-mistral")).unwrap();
    let model = Model::from_checkpoint(checkpoint).unwrap();
    let tokenizer = Tokenizer::new(Vocabulary::from_metadata(model.metadata()).unwrap()).unwrap();
    let limits = Limits {
        max_tokens: 40,
        end: tokenizer.ends(),
    };
    let prompts = ["Once upon a time", "The dog", "Lily was sad because"];
    for (i, prompt) in prompts.iter().enumerate() {
        let context = Context::new(&model, ContextOptions::new(128)).unwrap();
        let mut sampler = Sampler::new(SamplerOptions::greedy()).unwrap();
        let mut words = Detokenizer::continuing(&tokenizer);
        let mut alone = Vec::new();
        let prompt = tokenizer.encode_prompt(prompt.as_bytes());
        let mut session = Session::new(context);
        let done = session.generate(&prompt, limits, &mut sampler, |token| {
            alone.push(format!("{i} {:?}", words.push(token)));
            ControlFlow::Continue(())
        });
        done.unwrap();
        let number = format!("{i} ");
        let side_by_side = printed.lines().filter(|line| line.starts_with(&number));
        assert_eq!(side_by_side.collect::<Vec<_>>(), alone);
        assert!(alone.len() > 10, "{alone:?}");
    }
    // They come side by side, not one after the other.
    let numbers = printed.lines().take(6).map(|line| &line[..1]);
    assert_eq!(numbers.collect::<String>(), "012012");
}

/// Whoever runs a directory of safetensors links no command line, and not the quantizer.
#[test]
fn it_links_nothing_of_the_program() {
    let arguments = "tree -p consumer -e normal --prefix none --format {p} --locked --offline";
    let tree = stdout(Command::new(env!("CARGO")).args(arguments.split(' ')));
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(
        names.contains(&"bise-model") && names.contains(&"rayon"),
        "{tree}"
    );
    for name in [
        "clap",
        "ctrlc",
        "indicatif",
        "signal-hook",
        "bise-cli",
        "bise-quantize",
    ] {
        assert!(!names.contains(&name), "{name} is linked:\n{tree}");
    }
}
