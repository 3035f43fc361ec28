//! The answer to a request is the same alone and in company, with and without known beginnings,
//! after giving way to others, on any number of threads.

mod common;

use bise_kernels::isa::Level;
use bise_kernels::threads::Threads;
use bise_model::KvType;
use bise_model::constraint::Grammar;
use bise_model::sampler::SamplerOptions;
use bise_serve::request::{Event, Request, Voice};
use bise_serve::scheduler::SchedulerOptions;
use bise_serve::{Served, Wanted};
use common::{Numbers, Setup};
use std::sync::{Arc, Mutex};

const CONTEXT: usize = 256;

/// What is asked: request `i` of all.
fn asked(served: &Served, i: usize) -> Request {
    let mut numbers = Numbers(i as u64);
    // Some begin alike, for up to two thirds of the context.
    let stories = [
        "Once upon a time there was a little dog",
        "Tom and Lily went to the park",
        "A bird",
    ];
    let mut text = numbers.one_of(&stories).repeat(1 + numbers.below(9));
    if numbers.below(3) > 0 {
        text.push_str(numbers.one_of::<&str>(&[". The", " and then", ". One day", "!"]));
    }
    let schema = r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer"}}, "required": ["name", "age"], "additionalProperties": false}"#;
    let grammar = match numbers.below(5) {
        0 => Some(Grammar::JsonSchema(schema.to_owned())),
        1 => Some(Grammar::Regex("( (big|red|old|small)){2,9} dogs?[.]".to_owned())),
        _ => None,
    };
    let seed = Some(numbers.below(1000) as u64);
    let sampling = match numbers.below(3) {
        0 => SamplerOptions {
            seed,
            ..SamplerOptions::greedy()
        },
        1 => SamplerOptions {
            seed,
            repeat_penalty: 1.1,
            ..SamplerOptions::default()
        },
        _ => SamplerOptions {
            seed,
            temperature: 1.5,
            ..SamplerOptions::default()
        },
    };
    let wanted = Wanted {
        sampling,
        grammar,
        max_tokens: Some(1 + numbers.below(60) as u64),
        stops: match numbers.below(4) {
            0 => vec![" the".to_owned(), "\n".to_owned()],
            _ => Vec::new(),
        },
        choices: Some(*numbers.one_of(&[1, 1, 1, 3])),
        logprobs: Some(2).filter(|_| numbers.below(4) == 0),
        ignore_end: false,
        whole: numbers.below(2) == 0,
    };
    let voice = *numbers.one_of(&[Voice::Continuation, Voice::Answer { tools: false }]);
    let mut prompt = served.text_prompt(&text);
    prompt.truncate(CONTEXT - 70);
    served.request(prompt, voice, wanted).unwrap()
}

/// All that is said of a choice, but for times.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    thought: String,
    tokens: Vec<bise_serve::request::Token>,
    end: String,
}

/// The answers to a request.
fn answers(served: &Served, i: usize) -> Vec<Said> {
    let request = asked(served, i);
    let mut said: Vec<Said> = (0..request.choices()).map(|_| Said::default()).collect();
    let mut events = served.submit(request).unwrap();
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Begun { .. } => {}
            Event::Piece { choice, piece } => {
                said[choice].text.push_str(&piece.text);
                said[choice].thought.push_str(&piece.thought);
                said[choice].tokens.extend(piece.tokens);
            }
            Event::Ended { choice, end } => {
                said[choice].end = format!("{:?} {} {:?}", end.finish, end.tokens, end.calls);
            }
            Event::Failed { problem } => panic!("request {i}: {problem}"),
        }
    }
    assert!(
        said.iter().all(|said| !said.end.is_empty()),
        "request {i}: {said:?}"
    );
    said
}

/// The answers to all requests, `at_once` of them at a time, in a random order.
fn all_answers(served: &Served, count: usize, at_once: usize, seed: u64) -> Vec<Vec<Said>> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut numbers = Numbers(seed);
    for i in (1..count).rev() {
        order.swap(i, numbers.below(i + 1));
    }
    let order = Mutex::new(order);
    let done: Mutex<Vec<Option<Vec<Said>>>> = Mutex::new((0..count).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let Some(i) = order.lock().unwrap().pop() else {
                        break;
                    };
                    let said = answers(served, i);
                    done.lock().unwrap()[i] = Some(said);
                }
            });
        }
    });
    done.into_inner()
        .unwrap()
        .into_iter()
        .map(Option::unwrap)
        .collect()
}

fn served(model: &str, sequences: usize, kv_memory: u64, threads: usize, level: Level) -> Served {
    let mut setup = Setup {
        model: model.into(),
        scheduler: SchedulerOptions {
            sequences,
            queue: 1000,
            context: CONTEXT,
        },
        ..Setup::default()
    };
    setup.engine.kv = KvType::F16;
    setup.engine.kv_memory = kv_memory;
    setup.engine.level = level;
    setup.engine.rows = 64;
    setup.engine.threads = Some(Arc::new(Threads::new(threads).unwrap()));
    setup.served()
}

/// Bytes of keys and values of one text that fills the context.
fn one_text(model: &str) -> u64 {
    let setup = Setup {
        model: model.into(),
        ..Setup::default()
    };
    let served = setup.served();
    let engine = bise_model::Engine::new(&served.model, bise_model::EngineOptions::default());
    engine.kv_bytes_of(CONTEXT, 64)
}

fn company_does_not_matter(model: &str, count: usize) {
    let levels = Level::available();
    let best = *levels.last().unwrap();
    // A new server for each would have no beginnings to share; a small queue of one by one does not
    // share them while they run.
    let alone = all_answers(&served(model, 1, u64::MAX, 2, best), count, 1, 0);
    let tight = one_text(model) * 3;
    for (sequences, kv_memory, threads, level) in [
        (64, u64::MAX, 2, best),
        (64, tight, 2, best),
        (8, tight, 1, levels[levels.len() / 2]),
    ] {
        let company = served(model, sequences, kv_memory, threads, level);
        for (i, said) in all_answers(&company, count, 32, 7).into_iter().enumerate() {
            assert_eq!(
                said, alone[i],
                "request {i} of {model}, {sequences} sequences, {level}"
            );
        }
    }
}

#[test]
fn company_does_not_matter_to_a_dense_model() {
    company_does_not_matter("demo.gguf", 300);
}

#[test]
fn company_does_not_matter_to_a_mixture() {
    company_does_not_matter("tiny-mixtral", 60);
}
