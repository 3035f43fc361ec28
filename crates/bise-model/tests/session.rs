//! Sessions go on as if they had never stopped, or are refused.

mod common;

use bise_kernels::mmap::FileBytes;
use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::{
    CONTRACT, Context, ContextOptions, Extent, ForwardError, GenerateError, Kept, KvType, MEMORY,
    Model, PromptCache, Session, SessionError, Speculation, SpeculationOptions, TokenSampler,
    is_session,
};
use common::{Golden, bits, edited, file, fixture, with_window};
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| file("tiny-mistral", "Q8_0"));

fn sampler(seed: u64) -> Sampler {
    Sampler::new(SamplerOptions {
        temperature: 1.0,
        seed: Some(seed),
        ..SamplerOptions::default()
    })
    .unwrap()
}

const NOTES: &[u8] = b"anything \xff";

fn kept(sampler: &Sampler) -> Kept {
    Kept {
        sampler: Some(sampler.state()),
        notes: NOTES.to_vec(),
    }
}

fn session(model: &Model, options: ContextOptions) -> Session {
    Session::new(Context::new(model, options).unwrap())
}

fn speculation(always: bool) -> Option<Speculation> {
    Some(Speculation::new(SpeculationOptions {
        always,
        ..SpeculationOptions::default()
    }))
}

fn prompt(len: usize) -> Vec<u32> {
    let story = Golden::read("tiny-mistral.safetensors").tokens;
    story.iter().cycle().copied().take(len).collect()
}

/// Notes what it is asked, and always chooses the same.
#[derive(Default)]
struct Sees {
    logits: Vec<f32>,
    histories: Vec<usize>,
}

impl TokenSampler for Sees {
    fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, GenerateError> {
        self.logits = logits.to_vec();
        self.histories.push(history.len());
        Ok(5)
    }
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Fifty texts, each stopped at a random point and gone on with in another session: with and
/// without a window, with all types of keys and values, with and without drafts before and after.
#[test]
fn a_resumed_session_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let windows = [None, Some(7), Some(64), Some(100)];
    let models = windows.map(|window| with_window(&FILE, window));
    let kinds = [KvType::F16, KvType::F32, KvType::Q8_0];
    let mut numbers = Numbers(1);
    for i in 0..50 {
        let (model, kv) = (&models[i % 4], kinds[i % 3]);
        let (before, after) = (1 + numbers.below(150), 60);
        let options = ContextOptions {
            kv,
            ..ContextOptions::new(300)
        };
        let prompt = prompt(1 + numbers.below(60));

        let mut whole = session(model, options);
        let mut chooser = sampler(i as u64);
        whole.append(&prompt);
        for _ in 0..before + after {
            whole.decode(&mut chooser).unwrap();
        }

        let mut first = session(model, options);
        first.speculate(speculation(true).filter(|_| i & 1 > 0));
        let mut chooser = sampler(i as u64);
        first.append(&prompt);
        for _ in 0..before {
            first.decode(&mut chooser).unwrap();
        }
        let beside = (chooser.state().to_bytes().len() + NOTES.len()) as u64;
        if i % 5 < 2 {
            // Keys and values are computed again, and are the same.
            let mut file = Vec::new();
            first.write(&mut file, &kept(&chooser), Extent::Text).unwrap();
            assert_eq!(file.len() as u64, (192 + 4 * first.len()) as u64 + beside);
            fs::write(&path, file).unwrap();
        } else {
            first.save(&path, &kept(&chooser)).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), first.file_len() + beside);
        }
        assert!(is_session(&path).unwrap());

        // The saved session goes on unharmed, and so does another of another size.
        let options = ContextOptions {
            max_tokens: 280,
            prefill_chunk: 13,
            ..options
        };
        let mut second = session(model, options);
        second.speculate(speculation(true).filter(|_| i & 2 > 0));
        let restored = second.restore(&path).unwrap();
        assert_eq!(restored, kept(&chooser));
        let mut resumed = sampler(999);
        resumed.restore(&restored.sampler.unwrap()).unwrap();
        for _ in 0..after {
            let token = second.decode(&mut resumed).unwrap();
            assert_eq!(first.decode(&mut chooser).unwrap(), token, "{i}");
        }
        assert_eq!(whole.tokens(), second.tokens(), "{i}");
        // Not only the tokens: the logits of what follows.
        let logits = |mut session: Session| {
            let mut seen = Sees::default();
            session.decode(&mut seen).unwrap();
            bits(&seen.logits)
        };
        assert!(logits(whole) == logits(second), "{i}");
    }
}

/// A session with a window is as long as the window makes it, however long the text.
#[test]
fn a_window_keeps_the_file_small() {
    let model = with_window(&FILE, Some(64));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let mut session = session(&model, ContextOptions::new(100));
    let mut longest = 0;
    for i in 0..12 {
        session.append(&prompt(60));
        session.prefill().unwrap();
        session.save(&path, &Kept::default()).unwrap();
        let len = fs::metadata(&path).unwrap().len() - 4 * session.len() as u64;
        if i > 4 {
            assert!(len <= longest, "after {} tokens", session.len());
        }
        longest = len.max(longest);
        assert_eq!(session.restore(&path).unwrap(), Kept::default());
        assert_eq!(session.len(), 60 * (i + 1));
    }
}

/// Of a long text with a window only the end is kept, and what is kept does not depend on how it
/// was read.
#[test]
fn a_very_long_text_forgets_its_beginning() {
    let model = with_window(&file("random/mistral-window-1", "F32"), Some(1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let mut session = session(&model, ContextOptions::new(100));
    let tokens: Vec<u32> = (0..MEMORY as u32).map(|i| i * i % 61 + 1).collect();
    let mut seen = Sees::default();
    let mut choose = |session: &mut Session| session.decode(&mut seen).unwrap();
    session.append(&tokens);
    session.append(&tokens[..MEMORY - 1]);
    choose(&mut session);
    choose(&mut session);
    assert_eq!(
        (session.len(), session.tokens().len()),
        (2 * MEMORY + 1, MEMORY + 1)
    );
    session.save(&path, &Kept::default()).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 8 * MEMORY as u64);
    assert!(
        !session.truncate(2 * MEMORY - 1),
        "the beginning is not known any more"
    );
    assert_eq!(session.len(), 2 * MEMORY + 1);
    session.restore(&path).unwrap();
    assert_eq!(
        (session.len(), session.tokens().len()),
        (2 * MEMORY + 1, MEMORY + 1)
    );
    choose(&mut session);
    assert_eq!(session.keep_common(&tokens[..10]), 0);
    session.append(&tokens[..10]);
    choose(&mut session);
    assert_eq!(session.len(), 11);
    assert_eq!(seen.histories, [2 * MEMORY - 1, MEMORY, MEMORY + 1, 10]);
}

fn saved(model: &Model, folder: &Path) -> Vec<u8> {
    let path = folder.join("saved");
    let mut session = session(model, ContextOptions::new(100));
    session.append(&prompt(70));
    session.prefill().unwrap();
    session.save(&path, &kept(&sampler(1))).unwrap();
    fs::read(&path).unwrap()
}

/// Two hundred damaged files: bits flipped, pieces cut out, doubled, swapped, overwritten. All are
/// refused, and leave an empty session that works.
#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_window(&FILE, Some(64));
    let good = saved(&model, folder.path());
    let path = folder.path().join("damaged");
    let mut numbers = Numbers(7);
    let mut session = session(&model, ContextOptions::new(100));
    let mut damaged = 0;
    for i in 0..240 {
        let mut bytes = good.clone();
        // Every second time in the header and the tokens, which are what code looks at.
        let end = if i % 2 == 0 { 460 } else { bytes.len() };
        let (a, b) = (numbers.below(end), numbers.below(end));
        let (a, b) = (a.min(b), a.max(b));
        match i % 6 {
            0 | 1 => bytes[a] ^= 1 << numbers.below(8),
            2 => bytes.truncate(a),
            3 => drop(bytes.drain(a..b.max(a + 1))),
            4 => bytes[a..(a + 8).min(end)].fill(numbers.below(2) as u8 * 255),
            _ => {
                let piece = bytes[a..b.min(a + 50)].to_vec();
                bytes.splice(b..b, piece);
            }
        }
        if bytes == good {
            continue;
        }
        damaged += 1;
        fs::write(&path, &bytes).unwrap();
        let error = session
            .restore(&path)
            .expect_err(&format!("{i}: bytes {a} to {b}"));
        assert!(error.to_string().contains("session"), "{i}: {error}");
        assert!(session.is_empty());
    }
    assert!(damaged >= 200, "{damaged}");
    session.append(&prompt(20));
    session.decode(&mut sampler(1)).unwrap();
}

/// Numbers that lie although their checksum is right.
#[test]
fn unsound_headers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unsound");
    for window in [None, Some(64)] {
        let model = with_window(&FILE, window);
        let good = saved(&model, folder.path());
        let mut session = session(&model, ContextOptions::new(100));
        for at in (12..128).step_by(4) {
            for value in [1u32, 3, 64, 99, 1000, u32::MAX] {
                let mut bytes = good.clone();
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                let hash = Sha256::digest(&bytes[..128]);
                bytes[128..160].copy_from_slice(&hash);
                if bytes == good {
                    continue;
                }
                fs::write(&path, &bytes).unwrap();
                assert!(session.restore(&path).is_err(), "{value} at {at}");
            }
        }
        // A token that the vocabulary does not have, and a sampler's state that is none.
        for at in [160, 160 + 4 * 70 + 16] {
            let mut bytes = good.clone();
            bytes[at..at + 4].fill(255);
            let end = bytes.len() - 32;
            let hash = Sha256::digest(&bytes[..end]);
            bytes[end..].copy_from_slice(&hash);
            fs::write(&path, &bytes).unwrap();
            let error = session.restore(&path).unwrap_err().to_string();
            assert!(error.starts_with("the session is not sound"), "{error}");
        }
        fs::write(&path, &good).unwrap();
        session.restore(&path).unwrap();
    }
}

#[test]
fn sessions_of_something_else_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_window(&FILE, None);
    let bytes = saved(&model, folder.path());
    let path = folder.path().join("saved");
    let refused =
        |model: &Model, options| session(model, options).restore(&path).unwrap_err().to_string();
    let options = ContextOptions::new(100);

    let other = refused(&with_window(&file("tiny-mistral", "Q4_0"), None), options);
    assert!(
        other.contains("its model is ") && other.contains("expected "),
        "{other}"
    );
    let vocabulary = edited(&FILE, |metadata| {
        metadata.insert("llama.attention.sliding_window", 0u32);
        metadata.insert("tokenizer.ggml.bos_token_id", 7u32);
    });
    assert!(refused(&vocabulary, options).contains("its model is "));
    assert!(refused(&with_window(&FILE, Some(64)), options).contains("its model is "));
    assert_eq!(
        refused(
            &model,
            ContextOptions {
                kv: KvType::F32,
                ..options
            }
        ),
        "the session does not fit: its type of keys and values (as GGUF numbers them) is 1; expected 0"
    );
    assert_eq!(
        refused(&model, ContextOptions::new(69)),
        "the session does not fit: its number of tokens is 70; expected at most the 69 of the context"
    );
    fs::write(&path, [b"GGUF", &bytes[4..]].concat()).unwrap();
    assert!(refused(&model, options).contains("no session"));
    fs::write(&path, b"").unwrap();
    assert!(refused(&model, options).contains("no session"));
    fs::write(&path, &bytes[..100]).unwrap();
    assert_eq!(
        refused(&model, options),
        "the session is damaged: it is 100 bytes long; expected 192"
    );
    assert!(matches!(
        session(&model, options).restore(folder.path()),
        Err(SessionError::Io(_))
    ));
    assert!(matches!(
        session(&model, options).restore(&folder.path().join("absent")),
        Err(SessionError::Io(_))
    ));
}

/// Every tensor, and all metadata that logits depend on, are in the fingerprint; what the model is
/// called is not.
#[test]
fn fingerprints_differ() {
    let demo = fs::read(fixture("demo.gguf")).unwrap();
    let of = |bytes: &[u8]| {
        Model::from_bytes(FileBytes::from_vec(bytes.to_vec()))
            .unwrap()
            .fingerprint()
    };
    let first = of(&demo);
    assert_eq!(first, of(&demo));
    let gguf = bise_format::gguf::Gguf::parse(&demo).unwrap();
    for info in gguf.tensors.values() {
        let mut changed = demo.clone();
        let start = (gguf.data_offset + info.offset) as usize;
        changed[start + info.len as usize - 1] ^= 1;
        assert_ne!(of(&changed), first, "{}", info.name);
    }
    let renamed = edited(&demo, |metadata| drop(metadata.insert("general.name", "another")));
    assert_eq!(renamed.fingerprint(), first);
    let turned = edited(&demo, |metadata| {
        drop(metadata.insert("llama.rope.freq_base", 5e4f32))
    });
    assert_ne!(turned.fingerprint(), first);
}

/// Changing the bits of a result makes sessions worthless: then CONTRACT must be raised, and this
/// hash be set anew.
#[test]
fn the_contract_is_what_it_says() {
    let model = Model::open(&fixture("demo.gguf")).unwrap();
    let mut hash = Sha256::new();
    for kv in [KvType::F16, KvType::F32, KvType::Q8_0] {
        let mut context = Context::new(
            &model,
            ContextOptions {
                kv,
                ..ContextOptions::new(128)
            },
        )
        .unwrap();
        let tokens: Vec<u32> = (0..100).map(|i| i * i % 500 + 1).collect();
        let logits = context.forward(&tokens).unwrap();
        hash.update(logits.iter().flat_map(|l| l.to_le_bytes()).collect::<Vec<u8>>());
    }
    let hash = hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    let found = (CONTRACT, hash);
    assert_eq!(found, (1, "0115995750df81e0".to_owned()));
}

/// Without its oldest tokens a text is as if it had been read without them.
#[test]
fn room_is_made_exactly() {
    let model = with_window(&FILE, None);
    let mut full = session(&model, ContextOptions::new(100));
    full.speculate(speculation(true));
    full.append(&prompt(90));
    let mut chooser = sampler(3);
    assert_eq!((full.room(), full.make_room(10, 10)), (Some(10), Some(0)));
    while full.decode(&mut chooser).is_ok() {}
    assert_eq!((full.len(), full.room()), (101, Some(0)));
    let before = full.tokens().to_vec();
    assert_eq!(full.make_room(10, 0), Some(45), "half of what may go");
    assert_eq!(full.tokens(), [&before[..10], &before[55..]].concat());

    let mut fresh = session(&model, ContextOptions::new(100));
    fresh.append(full.tokens());
    let (mut a, mut b) = (sampler(4), sampler(4));
    for _ in 0..40 {
        assert_eq!(full.decode(&mut a).unwrap(), fresh.decode(&mut b).unwrap());
    }
    assert_eq!(full.make_room(10, 80), Some(76), "as many as it takes");
    assert_eq!(full.len(), 20);
    assert_eq!(full.make_room(10, 91), None, "more than there is room for");
    assert_eq!(full.len(), 20);

    let window = with_window(&FILE, Some(16));
    let mut endless = session(&window, ContextOptions::new(10));
    endless.append(&prompt(100));
    assert_eq!((endless.room(), endless.make_room(0, 1000)), (None, Some(0)));
}

/// What was in the cache is not read again, and changes nothing.
#[test]
fn prompts_are_read_once() {
    for window in [None, Some(16)] {
        let model = with_window(&FILE, window);
        let folder = tempfile::tempdir().unwrap();
        let cache = PromptCache::new(&folder.path().join("prompts"), 1 << 30).unwrap();
        let options = ContextOptions::new(400);
        let run = |prompt: &[u32]| {
            let mut session = session(&model, options);
            let begun = session.begin(prompt, Some(&cache)).unwrap();
            assert!(begun.refused.is_empty() && begun.not_kept.is_none());
            let mut chooser = sampler(1);
            let tokens: Vec<u32> = (0..20).map(|_| session.decode(&mut chooser).unwrap()).collect();
            let mut plain = self::session(&model, options);
            plain.append(prompt);
            let mut chooser = sampler(1);
            for &token in &tokens {
                assert_eq!(plain.decode(&mut chooser).unwrap(), token);
            }
            begun.known
        };
        let text = prompt(300);
        assert_eq!(run(&text[..100]), 0);
        assert_eq!(run(&text[..100]), 100, "the same again");
        assert_eq!(run(&text), 100, "its beginning");
        let other = [&text[..120], &[7; 30]].concat();
        // A window holds only the end of what was read.
        assert_eq!(run(&other), if window.is_some() { 100 } else { 120 });
        assert_eq!(
            run(&text[20..80]),
            0,
            "the same in another place is something else"
        );
    }
}

fn prompts(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_prompt_cache_stays_in_its_bounds() {
    let model = with_window(&FILE, None);
    let folder = tempfile::tempdir().unwrap();
    let options = ContextOptions::new(400);
    let store = |cache: &PromptCache, prompt: &[u32]| {
        let mut session = session(&model, options);
        session.append(prompt);
        session.prefill().unwrap();
        cache.store(&mut session).unwrap();
        session.file_len()
    };
    let numbered = |i: u32| -> Vec<u32> { (0..70).map(|t| (t * (i + 3)) % 500 + 1).collect() };
    let large = PromptCache::new(folder.path(), 1 << 30).unwrap();
    let len = store(&large, &numbered(0));
    let names = prompts(folder.path());
    assert_eq!(names.len(), 1);
    store(&large, &numbered(0)[..10]);
    store(&large, &numbered(0)[..60]);
    assert_eq!(prompts(folder.path()), names, "nothing new");
    store(&large, &[numbered(0), numbered(5)].concat());
    assert_eq!(
        prompts(folder.path()).len(),
        1,
        "the longer takes the place of the shorter"
    );

    let small = PromptCache::new(folder.path(), 3 * len).unwrap();
    for i in 1..8 {
        store(&small, &numbered(i));
        // The file system's clock may be coarse.
        std::thread::sleep(std::time::Duration::from_millis(15));
    }
    let total: u64 = prompts(folder.path())
        .iter()
        .map(|n| fs::metadata(folder.path().join(n)).unwrap().len())
        .sum();
    assert!(prompts(folder.path()).len() == 3 && total <= 3 * len, "{total}");
    let mut session = session(&model, options);
    assert_eq!(
        small.restore(&mut session, &numbered(7)).tokens,
        70,
        "the newest is there"
    );
    assert_eq!(
        small.restore(&mut session, &numbered(1)).tokens,
        0,
        "the oldest is not"
    );
    let tiny = PromptCache::new(folder.path(), 100).unwrap();
    store(&tiny, &numbered(9));
    assert_eq!(
        prompts(folder.path()).len(),
        3,
        "what is larger than the bound drives nothing out"
    );
}

#[test]
fn damaged_prompts_are_deleted_and_foreign_ones_left_alone() {
    let model = with_window(&FILE, None);
    let folder = tempfile::tempdir().unwrap();
    let cache = PromptCache::new(folder.path(), 1 << 30).unwrap();
    let options = ContextOptions::new(200);
    let mut one = session(&model, options);
    one.append(&prompt(100));
    one.prefill().unwrap();
    cache.store(&mut one).unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let name = prompts(folder.path())
        .into_iter()
        .find(|n| n.ends_with(".prompt"))
        .unwrap();
    let path = folder.path().join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).unwrap();
    let restored = cache.restore(&mut one, &prompt(100));
    assert_eq!((restored.tokens, restored.refused.len()), (0, 1));
    assert!(restored.refused[0].1.to_string().contains("damaged"));
    assert_eq!(prompts(folder.path()), ["notes.txt"]);
    one.append(&prompt(100));
    one.decode(&mut sampler(1)).unwrap();
}

/// Several programs at once: no file is ever seen half written.
#[test]
fn a_prompt_cache_is_shared() {
    let model = with_window(&FILE, None);
    let folder = tempfile::tempdir().unwrap();
    let text = prompt(160);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (model, folder, text) = (&model, folder.path(), &text);
            scope.spawn(move || {
                let cache = PromptCache::new(folder, 600_000).unwrap();
                for i in 0..12 {
                    let prompt = &text[..60 + (i * 7 + worker * 13) % 100];
                    let mut session = session(model, ContextOptions::new(200));
                    let begun = session.begin(prompt, Some(&cache)).unwrap();
                    assert!(begun.refused.is_empty(), "{:?}", begun.refused);
                    assert_eq!(session.tokens(), prompt);
                    session.decode(&mut sampler(1)).unwrap();
                }
            });
        }
    });
}

/// Reading that is stopped anywhere, over and over, goes on as if it had not been, with a window
/// and without.
#[test]
fn stopped_reading_goes_on() {
    for window in [None, Some(16)] {
        let model = with_window(&FILE, window);
        let options = ContextOptions {
            prefill_chunk: 40,
            ..ContextOptions::new(512)
        };
        let (prompt, mut greedy) = (prompt(300), Sampler::new(SamplerOptions::greedy()).unwrap());
        let mut whole = session(&model, options);
        whole.append(&prompt);
        let expected: Vec<u32> = (0..5).map(|_| whole.decode(&mut greedy).unwrap()).collect();

        let mut stopped = session(&model, options);
        stopped.append(&prompt);
        for looks in [0, 1, 3, 7, 12, 30] {
            let left = AtomicUsize::new(looks);
            stopped.watch_progress(Some(Arc::new(move |done, all| {
                assert!(done < all && all <= 300);
                match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                    Ok(_) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })));
            match stopped.prefill() {
                Err(GenerateError::Forward(ForwardError::Stopped)) => {
                    assert!(looks < 30 && stopped.len() == 300)
                }
                read => read.unwrap(),
            }
        }
        stopped.watch_progress(None);
        let found: Vec<u32> = (0..5).map(|_| stopped.decode(&mut greedy).unwrap()).collect();
        assert_eq!(found, expected);
    }
}
