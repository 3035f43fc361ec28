//! Drafts change nothing but speed.

mod common;

use bise_kernels::isa::Level;
use bise_kernels::threads::Threads;
use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::{
    Context, ContextOptions, Counts, DraftError, GenerateError, KvType, Limits, Model, Session,
    Speculation, SpeculationOptions, Stop, TokenSampler,
};
use common::{Golden, file, model, with_window};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::LazyLock;

struct Case {
    name: String,
    model: Model,
    /// Of the same vocabulary, and worse.
    draft: Model,
}

/// Models without a window, and with windows at and around the length of a chunk.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut cases = Vec::new();
    let windows = [None, Some(1), Some(16), Some(63), Some(64), Some(65), Some(129)];
    for (name, windows) in [
        ("tiny-mistral", &windows[..]),
        ("tiny-mixtral", &[None, Some(64)]),
    ] {
        let (good, poor) = (file(name, "Q8_0"), file(name, "Q2_K"));
        for &window in windows {
            cases.push(Case {
                name: format!("{name}, window {window:?}"),
                model: with_window(&good, window),
                draft: with_window(&poor, window.filter(|w| w % 2 == 0)),
            });
        }
    }
    cases
});

/// A text that repeats itself, as golden stories do, and more so.
fn prompt(len: usize) -> Vec<u32> {
    let golden = Golden::read("tiny-mistral.safetensors").tokens;
    golden[..40].iter().cycle().copied().take(len).collect()
}

fn sampler(temperature: f32) -> Sampler {
    Sampler::new(SamplerOptions {
        temperature,
        seed: Some(5),
        ..SamplerOptions::default()
    })
    .unwrap()
}

/// One token after the other, without a session.
fn plain(
    model: &Model,
    prompt: &[u32],
    n: usize,
    options: ContextOptions,
    temperature: f32,
) -> Vec<u32> {
    let mut context = Context::new(model, options).unwrap();
    let mut sampler = sampler(temperature);
    let (mut text, mut unread) = (prompt.to_vec(), 0);
    for _ in 0..n {
        let logits = context.forward(&text[unread..]).unwrap();
        unread = text.len();
        let token = sampler.sample(logits, &text).unwrap();
        text.push(token);
    }
    text.split_off(prompt.len())
}

fn drafted(
    model: &Model,
    speculation: Speculation,
    prompt: &[u32],
    n: usize,
    options: ContextOptions,
    temperature: f32,
) -> (Vec<u32>, Counts) {
    let mut session = Session::new(Context::new(model, options).unwrap());
    session.speculate(Some(speculation));
    session.append(prompt);
    let mut sampler = sampler(temperature);
    let tokens = (0..n).map(|_| session.decode(&mut sampler).unwrap()).collect();
    (tokens, session.counts())
}

fn always(lookup: bool, most: usize) -> SpeculationOptions {
    SpeculationOptions {
        lookup,
        most,
        always: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// At every position from the first on, past chunks and windows, with drafts right and wrong.
    #[test]
    fn the_text_is_the_same(
        which in 0..CASES.len(), most in prop_oneof![1usize..9, Just(64), Just(1000)], sources in 1u8..4,
        temperature in prop_oneof![Just(0.0f32), Just(0.8), Just(2.0)], len in 1usize..80, n in 1usize..150,
        kv in prop_oneof![Just(KvType::F16), Just(KvType::F32), Just(KvType::Q8_0)], threads in 1usize..3,
    ) {
        let Case { name, model, draft } = &CASES[which];
        // Long drafts are mostly read in vain: fewer tokens are enough, and not at the slow level.
        let long = most > 8;
        let n = if long { n.min(40) } else { n };
        let options = ContextOptions { kv, ..ContextOptions::new(len + n) };
        let prompt = prompt(len);
        let expected = plain(model, &prompt, n, options, temperature);
        let mut speculation = Speculation::new(always(sources & 1 > 0, most));
        if sources & 2 > 0 {
            speculation = speculation.with_model(model, draft, options).unwrap();
        }
        let level = if threads == 1 && most < 4 { Level::SCALAR } else { Level::detect() };
        let options = ContextOptions { level, ..options };
        let run = || drafted(model, speculation, &prompt, n, options, temperature);
        let (tokens, _) = Threads::new(threads).unwrap().run(run);
        prop_assert!(tokens == expected, "{name}");
    }
}

/// Drafts are right and wrong often enough for these tests to mean something, and those of a model
/// follow the sampler.
#[test]
fn drafts_are_accepted_and_rejected() {
    let Case { model, draft, .. } = &CASES[0];
    let options = ContextOptions::new(300);
    let count = |speculation: Speculation, temperature| {
        drafted(model, speculation, &prompt(50), 200, options, temperature).1
    };
    let by_lookup = count(Speculation::new(always(true, 8)), 0.8);
    assert!(
        by_lookup.accepted > 20 && by_lookup.drafted > by_lookup.accepted,
        "{by_lookup:?}"
    );
    for temperature in [0.0, 1.5] {
        let speculation = Speculation::new(always(false, 4)).with_model(model, draft, options);
        let by_model = count(speculation.unwrap(), temperature);
        // Q2_K of a model often says what Q8_0 says, given the same random numbers.
        assert!(by_model.accepted > 80, "{temperature}: {by_model:?}");
        assert!(
            by_model.accepted < by_model.drafted,
            "{temperature}: {by_model:?}"
        );
    }
}

/// A model that drafts for itself is always right, through restarts of a smaller context too.
#[test]
fn a_perfect_draft_is_never_rejected() {
    for window in [None, Some(64)] {
        let model = with_window(&file("tiny-mistral", "Q8_0"), window);
        let options = ContextOptions::new(300);
        let speculation = Speculation::new(always(false, 5))
            .with_model(&model, &model, options)
            .unwrap();
        let (tokens, counts) = drafted(&model, speculation, &prompt(50), 200, options, 1.0);
        // The last drafts may still be ahead of the text.
        assert!(counts.drafted - counts.accepted <= 5, "{counts:?}");
        assert!(counts.accepted > 150, "{counts:?}");
        let speculation =
            Speculation::new(always(false, 5)).with_model(&model, &model, ContextOptions::new(60));
        let (small, counts) = drafted(&model, speculation.unwrap(), &prompt(50), 200, options, 1.0);
        assert_eq!(small, tokens);
        assert!(counts.accepted > 40, "{counts:?}");
    }
}

/// What decides on its own, by the clock, decides nothing about the text.
#[test]
fn adaptive_drafts_change_nothing() {
    for Case { name, model, draft } in CASES.iter().step_by(3) {
        let options = ContextOptions::new(400);
        let expected = plain(model, &prompt(60), 300, options, 0.7);
        let speculation = Speculation::new(SpeculationOptions::default());
        let speculation = speculation.with_model(model, draft, options).unwrap();
        let (tokens, _) = drafted(model, speculation, &prompt(60), 300, options, 0.7);
        assert_eq!(tokens, expected, "{name}");
    }
}

/// Between any two tokens the session can be used as if nothing had been read ahead.
#[test]
fn the_future_is_forgotten_when_the_text_changes() {
    let golden = prompt(200);
    for Case { name, model, .. } in CASES.iter() {
        let options = ContextOptions::new(600);
        let run = |speculation: Option<Speculation>| {
            let mut session = Session::new(Context::new(model, options).unwrap());
            session.speculate(speculation);
            let mut sampler = sampler(1.0);
            session.append(&golden[..70]);
            for i in 1..8 {
                for _ in 0..i {
                    session.decode(&mut sampler).unwrap();
                }
                session.append(&golden[i..2 * i]);
                for _ in 0..i {
                    session.decode(&mut sampler).unwrap();
                }
                assert!(session.truncate(session.len() - i / 2));
            }
            assert!(session.keep_common(&golden[..120]) >= 70);
            session.append(&golden[session.len()..120]);
            session.decode(&mut sampler).unwrap();
            session.tokens().to_vec()
        };
        assert_eq!(run(Some(Speculation::new(always(true, 8)))), run(None), "{name}");
    }
}

/// Stops in the middle of a batch: what was read ahead is not in the text.
#[test]
fn limits_hold() {
    let Case { model, .. } = &CASES[0];
    let mut session = Session::new(Context::new(model, ContextOptions::new(80)).unwrap());
    session.speculate(Some(Speculation::new(always(true, 64))));
    let mut got = Vec::new();
    let limits = Limits {
        max_tokens: 25,
        end: &[],
    };
    let stop = session.generate(&prompt(50), limits, &mut sampler(0.0), |token| {
        got.push(token);
        ControlFlow::Continue(())
    });
    assert_eq!((stop.unwrap(), got.len(), session.len()), (Stop::Length, 25, 75));
    assert_eq!(session.tokens()[50..], got);

    // The context fills up token by token, although drafts would not fit.
    let limits = Limits {
        max_tokens: 100,
        end: &[],
    };
    let error = session
        .generate(&[], limits, &mut sampler(0.0), |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the context holds 80 tokens: 80 are in it and 1 more do not fit"
    );
    assert_eq!(session.len(), 81);

    // A token that ends the text stays at its end.
    session.clear();
    let end = [got[3]];
    let limits = Limits {
        max_tokens: 100,
        end: &end,
    };
    let stop = session
        .generate(&prompt(50), limits, &mut sampler(0.0), |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((stop, session.tokens().last()), (Stop::EndOfText, Some(&got[3])));
    let again = session
        .generate(&[], limits, &mut sampler(0.0), |_| panic!("the text has ended"))
        .unwrap();
    assert_eq!(again, Stop::EndOfText);
    let asked = session
        .generate(&prompt(5), limits, &mut sampler(0.0), |_| ControlFlow::Break(()))
        .unwrap();
    assert_eq!(asked, Stop::Asked);
}

#[test]
fn an_empty_text_has_no_next_token() {
    let Case { model, .. } = &CASES[0];
    let mut session = Session::new(Context::new(model, ContextOptions::new(80)).unwrap());
    assert_eq!(session.decode(&mut sampler(0.0)), Err(GenerateError::Empty));
}

/// One that fails now and then, and is asked again.
struct Fails(Sampler, usize);

impl TokenSampler for Fails {
    fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, GenerateError> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(GenerateError::Empty);
        }
        TokenSampler::sample(&mut self.0, logits, history)
    }
}

#[test]
fn a_failed_choice_can_be_made_again() {
    let Case { model, .. } = &CASES[0];
    let options = ContextOptions::new(300);
    let mut session = Session::new(Context::new(model, options).unwrap());
    session.speculate(Some(Speculation::new(always(true, 8))));
    session.append(&prompt(50));
    let mut chooser = Fails(sampler(0.9), 0);
    let mut tokens = Vec::new();
    while tokens.len() < 100 {
        tokens.extend(session.decode(&mut chooser));
    }
    assert_eq!(tokens, plain(model, &prompt(50), 100, options, 0.9));
}

#[test]
fn another_vocabulary_is_refused() {
    let one = model("tiny-mistral", "Q8_0");
    let other = model("random/mistral-window-7", "F32");
    let options = ContextOptions::new(20);
    let refused = Speculation::new(always(true, 8)).with_model(&one, &other, options);
    let Err(error @ DraftError::Vocabulary { .. }) = refused else {
        panic!("accepted");
    };
    assert!(error.to_string().contains("tokens"), "{error}");

    let changed = common::edited(&file("tiny-mistral", "Q8_0"), |metadata| {
        let mut tokens = metadata
            .strings("tokenizer.ggml.tokens")
            .unwrap()
            .unwrap()
            .to_vec();
        tokens[300] = "other".to_owned();
        metadata.insert("tokenizer.ggml.tokens", tokens);
    });
    let Err(error) = Speculation::new(always(true, 8)).with_model(&one, &changed, options) else {
        panic!("accepted");
    };
    let text = error.to_string();
    assert!(text.contains("tokenizer.ggml.tokens[300] is \"other\""), "{text}");
}
