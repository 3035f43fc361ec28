//! Many sequences in one batch: each has the logits that it has alone, bit for bit, whatever else
//! is in the batch, whenever it comes and goes, and whichever pages it shares.

mod common;

use bise_kernels::isa::Level;
use bise_kernels::threads::Threads;
use bise_model::{
    Context, ContextOptions, Engine, EngineOptions, ForwardError, KvType, LogitRows, Model, Part,
    Sequence,
};
use common::{bits, logits, model, with_windows};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

/// Models: dense and a mixture, with a window, without one, and with one in some layers.
static MODELS: LazyLock<Vec<(&'static str, Model)>> = LazyLock::new(|| {
    let mixed =
        |directory, target| with_windows(&common::file(directory, target), 16, &[true, false]);
    vec![
        ("tiny-mistral Q4_K_M, window 64", model("tiny-mistral", "Q4_K_M")),
        ("tiny-mixtral Q8_0", model("tiny-mixtral", "Q8_0")),
        (
            "tiny-mistral Q4_0, window 16 in some layers",
            mixed("tiny-mistral", "Q4_0"),
        ),
        ("window 7, F32", model("random/mistral-window-7", "F32")),
        ("mixture of 4, F16", model("random/mixtral-4-top-3", "F16")),
        ("YaRN and temperature", model("family/ministral-3-8b", "F16")),
        ("YaRN and a window", model("family/yarn-and-window", "BF16")),
    ]
});

/// What may happen next.
#[derive(Clone, Debug)]
enum Event {
    /// A pass over up to so many of the sequences, from one on, each with so many tokens at most: a
    /// piece of a prompt or one token.
    Pass {
        from: usize,
        sequences: usize,
        tokens: Vec<usize>,
        all: bool,
    },
    /// A sequence begins, with the beginning of another one, of which it shares the pages.
    Fork { from: usize, share: usize },
    /// A sequence begins with nothing.
    Begin,
    /// A sequence takes back so many of its tokens, and goes on otherwise.
    Rewind { which: usize, tokens: usize },
    /// A sequence ends.
    End { which: usize },
    /// A sequence is written and read again.
    Save { which: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let tokens = proptest::collection::vec(prop_oneof![3 => Just(1usize), 2 => 1usize..90], 9);
    prop_oneof![
        8 => (0usize..9, 1usize..10, tokens, any::<bool>()).prop_map(|(from, sequences, tokens, all)| {
            Event::Pass { from, sequences, tokens, all }
        }),
        2 => (0usize..9, 0usize..200).prop_map(|(from, share)| Event::Fork { from, share }),
        2 => Just(Event::Begin),
        1 => (0usize..9, 0usize..80).prop_map(|(which, tokens)| Event::Rewind { which, tokens }),
        1 => (0usize..9).prop_map(|which| Event::End { which }),
        1 => (0usize..9).prop_map(|which| Event::Save { which }),
    ]
}

/// A sequence, its tokens, and the logits after those that were asked for.
struct Running {
    sequence: Sequence,
    tokens: Vec<u32>,
    /// Tokens that it had at most.
    longest: usize,
    seen: Vec<(usize, Vec<u32>)>,
}

impl Running {
    fn new(sequence: Sequence) -> Self {
        Self {
            sequence,
            tokens: Vec::new(),
            longest: 0,
            seen: Vec::new(),
        }
    }

    /// Keeps what was said of the first `len` tokens.
    fn cut(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.seen.retain(|(at, _)| *at < len);
    }
}

/// Numbers that look random.
fn token(model: &Model, salt: usize) -> u32 {
    let mixed = (salt as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    (mixed % model.vocabulary_size() as u64) as u32
}

const MOST: usize = 9;
const TOKENS: usize = 400;

/// Plays a schedule, and gives all sequences that there were.
fn play(engine: &mut Engine, events: &[Event]) -> Vec<Running> {
    let model = engine.model().clone();
    let vocabulary = model.vocabulary_size();
    let (mut running, mut ended) = (vec![Running::new(engine.sequence(TOKENS))], Vec::new());
    let mut salt = 0;
    for event in events {
        let count = running.len();
        match event {
            Event::Begin if count < MOST => running.push(Running::new(engine.sequence(TOKENS))),
            Event::Fork { from, share } if count > 0 && count < MOST => {
                let parent = &running[from % count];
                let share = *share.min(&parent.tokens.len());
                if let Some(sequence) = parent.sequence.fork_at(share) {
                    let mut fork = Running {
                        sequence,
                        tokens: parent.tokens.clone(),
                        longest: parent.longest,
                        seen: parent.seen.clone(),
                    };
                    fork.cut(share);
                    running.push(fork);
                }
            }
            Event::Rewind { which, tokens } if count > 0 => {
                let one = &mut running[which % count];
                let len = one.tokens.len().saturating_sub(*tokens);
                let possible = one.sequence.truncate(len);
                assert!(possible || one.longest - len > Sequence::REWIND);
                if possible {
                    one.cut(len);
                }
            }
            Event::End { which } if count > 1 => ended.push(running.swap_remove(which % count)),
            Event::Save { which } if count > 0 => {
                let one = &mut running[which % count];
                let mut bytes = Vec::new();
                if one.sequence.save(&mut bytes).is_ok() {
                    assert_eq!(bytes.len() as u64, one.sequence.saved_bytes());
                    let (earliest, len) = (one.sequence.earliest().unwrap(), one.sequence.len());
                    one.sequence = engine.sequence(TOKENS);
                    one.sequence.restore(earliest, len, &mut &bytes[..]).unwrap();
                    assert_eq!(one.sequence.earliest(), Some(earliest));
                }
            }
            Event::Pass {
                from,
                sequences,
                tokens,
                all,
            } if count > 0 => {
                let rows = if *all { LogitRows::All } else { LogitRows::Last };
                let first = from % count;
                let chosen = &mut running[first..(first + sequences).min(count)];
                let mut starts = Vec::new();
                for (one, n) in chosen.iter_mut().zip(tokens) {
                    let start = one.tokens.len();
                    let n = (*n).min(TOKENS - start);
                    one.tokens.extend((0..n).map(|i| token(&model, salt + i)));
                    salt += n;
                    one.longest = one.longest.max(one.tokens.len());
                    starts.push(start);
                }
                let mut batch: Vec<Part<'_>> = chosen
                    .iter_mut()
                    .zip(&starts)
                    .map(|(one, &start)| Part::new(&mut one.sequence, &one.tokens[start..], rows))
                    .collect();
                let logits = engine.forward(&mut batch).unwrap();
                for (part, (one, &start)) in chosen.iter_mut().zip(&starts).enumerate() {
                    let said = logits.of(part).chunks_exact(vocabulary);
                    let end = one.tokens.len();
                    let first = if *all {
                        start
                    } else {
                        end.saturating_sub(1).max(start)
                    };
                    assert_eq!(said.len(), end - first);
                    one.seen.extend((first..end).zip(said.map(bits)));
                }
            }
            _ => {}
        }
    }
    running.extend(ended);
    running
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_sequence_in_company_is_the_same_as_alone(
        which in 0..MODELS.len(), kv in prop_oneof![Just(KvType::F16), Just(KvType::F32), Just(KvType::Q8_0)],
        events in proptest::collection::vec(event(), 4..24), level in any::<prop::sample::Index>(), threads in 1usize..4,
    ) {
        let (name, model) = &MODELS[which];
        let levels = Level::available();
        let mut options = EngineOptions::default();
        options.kv = kv;
        options.level = levels[level.index(levels.len())];
        options.rows = 8;
        options.threads = Some(Arc::new(Threads::new(threads).unwrap()));
        let mut engine = Engine::new(model, options.clone());
        for one in play(&mut engine, &events) {
            let alone = ContextOptions { kv, ..ContextOptions::new(TOKENS) };
            let expected = bits(&logits(model, &one.tokens, alone));
            let vocabulary = model.vocabulary_size();
            for (at, said) in &one.seen {
                prop_assert!(said == &expected[at * vocabulary..(at + 1) * vocabulary],
                    "{name}, {}, {threads} threads: after {} tokens of {}", options.level, at + 1, one.tokens.len());
            }
        }
        prop_assert_eq!(engine.kv_bytes(), 0, "pages are given back");
    }
}

/// Keys and values take what the tokens need, 64 at a time, and a common beginning is there once.
#[test]
fn memory_is_taken_as_tokens_come_and_shared() {
    let model = model("tiny-mixtral", "Q8_0");
    let read = |tokens: usize| {
        let mut engine = Engine::new(&model, EngineOptions::default());
        let mut sequence = engine.sequence(32 << 10);
        let tokens = vec![5; tokens];
        let mut batch = [Part::new(&mut sequence, &tokens, LogitRows::None)];
        engine.forward(&mut batch).unwrap();
        (engine, sequence)
    };
    let bytes = |tokens| {
        let (engine, sequence) = read(tokens);
        assert_eq!(engine.kv_bytes(), sequence.kv_bytes() as u64);
        engine.kv_bytes()
    };
    assert_eq!(bytes(100), bytes(128));
    assert_eq!(2 * bytes(129), 3 * bytes(128));

    let (mut engine, one) = read(1000);
    let whole = engine.kv_bytes();
    let mut other = one.fork();
    assert_eq!(engine.kv_bytes(), whole);
    engine
        .forward(&mut [Part::new(&mut other, &[7], LogitRows::None)])
        .unwrap();
    // The last page is the other's own now.
    let page = whole / 1000u64.div_ceil(64);
    assert_eq!(engine.kv_bytes(), whole + page);
    assert_eq!(one.bytes_shared_with(&other) as u64, whole - page);
    drop(one);
    assert_eq!(engine.kv_bytes(), whole);
    drop(other);
    assert_eq!(engine.kv_bytes(), 0);
}

/// When memory runs out nothing is processed, and what there is goes on.
#[test]
fn a_batch_that_does_not_fit_changes_nothing() {
    let model = model("tiny-mixtral", "Q8_0");
    let mut options = EngineOptions::default();
    let page = {
        let mut engine = Engine::new(&model, options.clone());
        let mut sequence = engine.sequence(64);
        engine
            .forward(&mut [Part::new(&mut sequence, &[1], LogitRows::None)])
            .unwrap();
        engine.kv_bytes()
    };
    options.kv_memory = 3 * page;
    let mut engine = Engine::new(&model, options);
    let (mut one, mut other) = (engine.sequence(1000), engine.sequence(1000));
    engine
        .forward(&mut [Part::new(&mut one, &[3; 60], LogitRows::None)])
        .unwrap();
    let mut batch = [
        Part::new(&mut one, &[4; 60], LogitRows::Last),
        Part::new(&mut other, &[5; 129], LogitRows::Last),
    ];
    let error = engine.forward(&mut batch).err().unwrap();
    let (needed, available) = (4 * page, 2 * page);
    assert_eq!(error, ForwardError::KvMemory { needed, available });
    assert_eq!((one.len(), other.len(), engine.kv_bytes()), (60, 0, page));
    let said = |context: &mut Context| context.forward(&[4; 60]).unwrap().to_vec();
    let mut context = Context::new(&model, ContextOptions::new(1000)).unwrap();
    context.forward(&[3; 60]).unwrap();
    let mut batch = [Part::new(&mut one, &[4; 60], LogitRows::Last)];
    assert_eq!(engine.forward(&mut batch).unwrap().of(0), said(&mut context));
}

/// A pass that is stopped at any layer leaves the sequences as they were, even where a window is.
#[test]
fn a_stopped_pass_leaves_no_trace() {
    for (name, model) in MODELS.iter() {
        let mut engine = Engine::new(model, EngineOptions::default());
        let mut sequence = engine.sequence(TOKENS);
        let tokens: Vec<u32> = (0..300).map(|i| token(model, i)).collect();
        let mut pass = |sequence: &mut Sequence, tokens: &[u32], until: usize| {
            let mut batch = [Part::new(sequence, tokens, LogitRows::Last)];
            let progress = &mut |layer| match layer == until {
                true => std::ops::ControlFlow::Break(()),
                false => std::ops::ControlFlow::Continue(()),
            };
            engine
                .forward_with(&mut batch, progress)
                .map(|said| bits(said.of(0)))
        };
        pass(&mut sequence, &tokens[..90], usize::MAX).unwrap();
        for layer in 0..model.config().layers.len() {
            let stopped = pass(&mut sequence, &tokens[..200], layer);
            assert_eq!(stopped, Err(ForwardError::Stopped), "{name}");
            assert_eq!(sequence.len(), 90);
        }
        let said = pass(&mut sequence, &tokens[90..], usize::MAX).unwrap();
        let expected = bits(&logits(model, &tokens, ContextOptions::new(TOKENS)));
        assert!(said == expected[expected.len() - said.len()..], "{name}");
    }
}

/// A sequence goes with the engine that made it.
#[test]
fn a_foreign_sequence_is_refused() {
    let (_, model) = &MODELS[1];
    let mut engine = Engine::new(model, EngineOptions::default());
    let mut foreign = Engine::new(model, EngineOptions::default()).sequence(10);
    let mut batch = [Part::new(&mut foreign, &[1], LogitRows::Last)];
    assert_eq!(
        engine.forward(&mut batch).err(),
        Some(ForwardError::ForeignSequence)
    );
}

#[test]
fn what_runs_a_model_can_go_to_another_thread() {
    fn sends<T: Send + 'static>() {}
    fn shares<T: Sync>() {}
    sends::<Engine>();
    sends::<Sequence>();
    sends::<Context>();
    sends::<bise_model::Session>();
    sends::<Model>();
    shares::<Model>();
}
