//! LoRA adapters: the results of PEFT, beside the model and merged into it, and one result at all
//! levels.

mod common;

use bise_format::adapter::{Adapter, ScaledAdapter};
use bise_format::checkpoint::Checkpoint;
use bise_format::full_text;
use bise_kernels::mmap::FileBytes;
use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::streamed::logits_after;
use bise_model::{
    Context, ContextOptions, Engine, EngineOptions, Kept, KvType, LoadOptions, LogitRows,
    MemoryNeeds, Model, Part, Session,
};
use bise_quantize::{Options, Silent, Target, quantize};
use common::{bits, differing, file, fixture, logits, tokens};
use proptest::prelude::*;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// How far logits may lie from PEFT's, relative to the largest.
const TOLERANCE: f32 = 1e-4;

/// What PEFT computed.
struct Golden {
    base: String,
    tokens: Vec<u32>,
    /// With the adapter beside the model.
    beside: Vec<f32>,
    merged: Vec<f32>,
    /// With several adapters, their names and scales.
    combined: Option<(Scales, Vec<f32>)>,
}

/// Names of adapters, and their scales.
type Scales = Vec<(String, f32)>;

fn golden(name: &str) -> Golden {
    let bytes = std::fs::read(fixture(&format!("goldens/adapters/{name}.safetensors"))).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name| file.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec();
    let floats = |name| words(name).into_iter().map(f32::from_le_bytes).collect();
    Golden {
        base: metadata["model"].clone(),
        tokens: words("tokens").into_iter().map(u32::from_le_bytes).collect(),
        beside: floats("logits"),
        merged: floats("merged"),
        combined: metadata.get("with").map(|with| {
            let with = serde_json::from_str(with).unwrap();
            (with, floats("combined"))
        }),
    }
}

/// All that there are.
const NAMES: [&str; 9] = [
    "plain",
    "ranks",
    "outside",
    "layers",
    "pattern",
    "head-dim",
    "tied",
    "tied-head",
    "experts",
];

fn adapter(name: &str, scale: f32) -> ScaledAdapter {
    let path = fixture("adapters").join(name);
    let (adapter, notes) = Adapter::open(&path).unwrap_or_else(|e| panic!("{}", full_text(&e)));
    assert!(notes.is_empty(), "{name}: {notes:?}");
    ScaledAdapter { adapter, scale }
}

fn checkpoint(base: &str) -> Checkpoint {
    bise_format::open(&fixture(base)).unwrap().0
}

fn load(checkpoint: Checkpoint, adapters: &[ScaledAdapter]) -> Model {
    let options = LoadOptions {
        adapters,
        ..LoadOptions::default()
    };
    Model::load(checkpoint, &options).unwrap_or_else(|e| panic!("{}", full_text(&e)))
}

/// A base of the goldens as a GGUF file of type `target`.
fn in_gguf(base: &str, target: &str) -> Checkpoint {
    Checkpoint::from_bytes(FileBytes::from_vec(file(base, target))).unwrap()
}

fn exact(tokens: usize) -> ContextOptions {
    ContextOptions {
        kv: KvType::F32,
        ..ContextOptions::new(tokens)
    }
}

fn check_close(name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(0f32, |most, l| most.max(l.abs()));
    let off = |(got, expected): (&f32, &f32)| (got - expected).abs();
    let most = got.iter().zip(expected).map(off).fold(0f32, f32::max);
    assert!(
        most <= TOLERANCE * largest,
        "{name}: {most} off, {largest} the largest"
    );
}

#[test]
fn logits_are_those_of_peft() {
    for name in NAMES {
        let golden = golden(name);
        for base in [checkpoint(&golden.base), in_gguf(&golden.base, "F32")] {
            let model = load(base, &[adapter(name, 1.0)]);
            let got = logits(&model, &golden.tokens, exact(golden.tokens.len()));
            check_close(name, &got, &golden.beside);
        }
        if let Some((with, expected)) = golden.combined {
            let adapters: Vec<_> = with.iter().map(|(name, scale)| adapter(name, *scale)).collect();
            let model = load(checkpoint(&golden.base), &adapters);
            let got = logits(&model, &golden.tokens, exact(golden.tokens.len()));
            check_close("several", &got, &expected);
        }
    }
}

/// The base of `golden` with `adapters` merged, as a file of type `target`.
fn merged(base: &Path, adapters: &[(PathBuf, f32)], target: &str) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("merged.gguf");
    let options = Options {
        adapters: adapters.to_vec(),
        ..Options::new(Target::from_name(target).unwrap())
    };
    quantize(base, &file, &options, &Silent).unwrap_or_else(|e| panic!("{}", full_text(&e)));
    let bytes = std::fs::read(&file).unwrap();
    Checkpoint::from_bytes(FileBytes::from_vec(bytes)).unwrap()
}

/// PEFT merges into tied embeddings twice, which leaves another model than the one it trained: there
/// the result is that of the adapter beside the model.
#[test]
fn merged_weights_are_those_of_peft() {
    for name in NAMES {
        let golden = golden(name);
        let adapters = [(fixture("adapters").join(name), 1.0)];
        let model = load(merged(&fixture(&golden.base), &adapters, "F32"), &[]);
        let got = logits(&model, &golden.tokens, exact(golden.tokens.len()));
        let is_tied = golden.base.ends_with("-tied");
        check_close(name, &got, if is_tied { &golden.beside } else { &golden.merged });
        if let Some((with, expected)) = golden.combined {
            let adapters: Vec<_> = with
                .iter()
                .map(|(name, scale)| (fixture("adapters").join(name), *scale))
                .collect();
            let model = load(merged(&fixture(&golden.base), &adapters, "F32"), &[]);
            let got = logits(&model, &golden.tokens, exact(golden.tokens.len()));
            check_close("several", &got, &expected);
        }
    }
}

/// What llama.cpp's converter makes of an adapter changes a model by the same bits.
#[test]
fn adapters_of_llama_cpp_are_the_same() {
    for name in ["plain", "outside", "experts", "head-dim"] {
        let golden = golden(name);
        let [peft, gguf] = [name.to_owned(), format!("gguf/{name}.gguf")]
            .map(|name| load(checkpoint(&golden.base), &[adapter(&name, 1.0)]));
        let options = exact(golden.tokens.len());
        let [one, other] =
            [&peft, &gguf].map(|model| bits(&logits(model, &golden.tokens, options)));
        assert!(one == other, "{name}");
        assert_eq!(peft.fingerprint(), gguf.fingerprint(), "{name}");
    }
}

#[test]
fn a_scale_of_0_is_no_adapter() {
    for name in ["plain", "outside"] {
        let golden = golden(name);
        let bare = load(checkpoint(&golden.base), &[]);
        let none = load(checkpoint(&golden.base), &[adapter(name, 0.0)]);
        let options = ContextOptions::new(golden.tokens.len());
        let [one, other] =
            [&bare, &none].map(|model| bits(&logits(model, &golden.tokens, options)));
        assert!(one == other, "{name}");
        assert_eq!(bare.fingerprint(), none.fingerprint());
    }
}

#[test]
fn adapters_and_scales_tell_models_apart() {
    let base = golden("plain").base;
    let of = |adapters: &[ScaledAdapter]| load(checkpoint(&base), adapters).fingerprint();
    let (plain, ranks) = (adapter("plain", 1.0), adapter("ranks", 1.0));
    let all = [
        of(&[]),
        of(std::slice::from_ref(&plain)),
        of(&[adapter("plain", 0.5)]),
        of(std::slice::from_ref(&ranks)),
        of(&[plain.clone(), ranks.clone()]),
        of(&[ranks, plain.clone()]),
        of(&[plain.clone(), plain.clone()]),
    ];
    for (i, one) in all.iter().enumerate() {
        assert!(!all[..i].contains(one), "{i}");
    }
    assert_eq!(of(&[plain]), all[1]);
}

#[test]
fn sessions_do_not_go_on_with_another_adapter() {
    let golden = golden("plain");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let load = |scale: Option<f32>| {
        let adapters: Vec<_> = scale.map(|scale| adapter("plain", scale)).into_iter().collect();
        load(checkpoint(&golden.base), &adapters)
    };
    let session =
        |model: &Model| Session::new(Context::new(model, ContextOptions::new(64)).unwrap());
    let (with, without) = (load(Some(1.0)), load(None));
    let kept = || Kept {
        sampler: Some(Sampler::new(SamplerOptions::greedy()).unwrap().state()),
        notes: Vec::new(),
    };
    for (saved, others) in [
        (&with, [&without, &load(Some(0.5))]),
        (&without, [&with, &load(Some(-1.0))]),
    ] {
        let mut one = session(saved);
        one.append(&golden.tokens[..8]);
        one.prefill().unwrap();
        one.save(&path, &kept()).unwrap();
        for other in others {
            let error = session(other).restore(&path).err().unwrap().to_string();
            assert!(error.contains("does not fit: its model"), "{error}");
        }
        session(saved).restore(&path).unwrap();
    }
}

#[test]
fn streamed_models_have_adapters_too() {
    for name in ["plain", "outside", "experts"] {
        let golden = golden(name);
        let adapters = [adapter(name, 0.5)];
        let prompt = golden.tokens.clone();
        let model = load(checkpoint(&golden.base), &adapters);
        let mut engine = Engine::new(&model, EngineOptions::default());
        let mut sequence = engine.sequence(prompt.len());
        let mut batch = [Part::new(&mut sequence, &prompt, LogitRows::Last)];
        let expected = bits(engine.forward(&mut batch).unwrap().of(0));
        let base = checkpoint(&golden.base);
        let found = logits_after(base, &adapters, &[prompt], u64::MAX, &|_, _| {}).unwrap();
        assert!(bits(&found[0]) == expected, "{name}");
    }
}

/// Models with adapters: of whole and quantized weights, dense and mixtures.
static MODELS: LazyLock<Vec<(String, Model)>> = LazyLock::new(|| {
    let cases: [(&str, &str, &[&str]); 6] = [
        ("plain", "BF16", &["plain"]),
        ("plain", "Q8_0", &["plain", "ranks"]),
        ("plain", "Q4_0", &["outside", "plain"]),
        ("tied", "F16", &["tied"]),
        ("experts", "F32", &["experts"]),
        ("head-dim", "F32", &["head-dim"]),
    ];
    let model = |(name, target, adapters): (&str, &str, &[&str])| {
        let adapters: Vec<_> = adapters.iter().map(|name| adapter(name, 0.75)).collect();
        let model = load(in_gguf(&golden(name).base, target), &adapters);
        (format!("{name} {target}"), model)
    };
    cases.into_iter().map(model).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn levels_threads_and_batches_agree(
        which in 0..MODELS.len(), threads in 1usize..5,
        batches in proptest::collection::vec(prop_oneof![Just(1usize), Just(3), Just(64), 1usize..20], 1..4),
        seed in 0u32..1000, n in 1usize..90,
    ) {
        let (name, model) = &MODELS[which];
        let tokens: Vec<u32> = tokens(model, n, seed);
        let differing = differing(model, &tokens, KvType::F16, threads, &batches);
        prop_assert!(differing.is_empty(), "{name}, {threads} threads: {differing:?}");
    }

    #[test]
    fn company_changes_nothing(which in 0..MODELS.len(), lengths in proptest::collection::vec(1usize..40, 2..6)) {
        let (name, model) = &MODELS[which];
        let tokens = |part: usize, n: usize| -> Vec<u32> {
            (0..n).map(|i| ((i * 7 + part * 13 + 3) % model.vocabulary_size()) as u32).collect()
        };
        let texts: Vec<_> = lengths.iter().enumerate().map(|(part, &n)| tokens(part, n)).collect();
        let mut engine = Engine::new(model, EngineOptions::default());
        let mut sequences: Vec<_> = texts.iter().map(|_| engine.sequence(64)).collect();
        let mut batch: Vec<_> = sequences.iter_mut().zip(&texts)
            .map(|(sequence, text)| Part::new(sequence, text, LogitRows::Last)).collect();
        let together = engine.forward(&mut batch).unwrap();
        let together: Vec<_> = (0..texts.len()).map(|part| bits(together.of(part))).collect();
        for (text, together) in texts.iter().zip(together) {
            let mut alone = engine.sequence(64);
            let mut batch = [Part::new(&mut alone, text, LogitRows::Last)];
            prop_assert!(bits(engine.forward(&mut batch).unwrap().of(0)) == together, "{name}");
        }
    }

    /// `W x + s B (A x) = (W + s B A) x`, but for rounding.
    #[test]
    fn beside_and_merged_are_one(
        scales in proptest::collection::vec((0usize..3, -2f32..2.0), 1..4), seed in 0usize..100,
    ) {
        let base = golden("plain").base;
        let names = ["plain", "ranks", "outside"];
        let adapters: Vec<_> = scales.iter().map(|&(i, scale)| adapter(names[i], scale)).collect();
        let paths: Vec<_> = scales.iter().map(|&(i, scale)| (fixture("adapters").join(names[i]), scale)).collect();
        let beside = load(checkpoint(&base), &adapters);
        let merged = load(merged(&fixture(&base), &paths, "F32"), &[]);
        let tokens: Vec<u32> = (0..24).map(|i| ((i * 5 + seed) % 64) as u32).collect();
        let [one, other] = [&beside, &merged].map(|model| logits(model, &tokens, exact(24)));
        check_close("merged", &one, &other);
    }
}

#[test]
fn memory_counts_adapters() {
    let base = golden("plain").base;
    let (model, options) = (
        load(checkpoint(&base), &[adapter("plain", 1.0)]),
        ContextOptions::new(64),
    );
    let bare = MemoryNeeds::of(model.checkpoint(), model.config(), &options);
    let needs = bare.with_adapters(
        model.adapters(),
        model.config(),
        model.vocabulary_size(),
        &options,
    );
    let bytes = model.adapters()[0].adapter.bytes();
    assert_eq!(needs.in_files, bare.in_files + bytes);
    assert!(needs.scratch > bare.scratch && needs.laid_out == bare.laid_out);
    let none = bare.with_adapters(&[], model.config(), model.vocabulary_size(), &options);
    assert_eq!(none, bare);
}

#[test]
fn adapters_of_other_models_are_refused() {
    for (base, name, words) in [
        (
            "random/mistral-head-dim",
            "plain",
            &["lora_A.weight` has the shape [4, 64]", "expected [4, 48]"][..],
        ),
        ("random/mistral-no-window", "experts", &["q_proj", "expected"]),
        (
            "random/mixtral-2-top-1",
            "plain",
            &["which the model does not have"],
        ),
        ("random/mixtral-2-top-1", "experts", &["expected"]),
    ] {
        let adapters = [adapter(name, 1.0)];
        let options = LoadOptions {
            adapters: &adapters,
            ..LoadOptions::default()
        };
        let error = Model::load(checkpoint(base), &options).err().expect(name);
        let error = full_text(&error);
        for word in words.iter().chain(&["adapters/", "the adapter was trained on"]) {
            assert!(error.contains(word), "{base}, {name}: no `{word}` in {error}");
        }
    }
    let adapters = [adapter("plain", f32::MAX)];
    let options = LoadOptions {
        adapters: &adapters,
        ..LoadOptions::default()
    };
    let error = Model::load(checkpoint("random/mistral-no-window"), &options)
        .err()
        .unwrap();
    assert!(full_text(&error).contains("smaller scale"), "{error}");
}
